"""One client of the torture run: takes leases in every way, increments counters under them, and has bad luck.

Started as: python -m tests.faults.torture_worker DSN JSON. SIGTERM: end after this round, and tell the figures.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from typing import Any

import psycopg

from airflow_lockprovider.lease import (
    Lease,
    LeaseEngine,
    LeaseLost,
    LeaseSettings,
    LeaseWaitTimeout,
    StoreUnavailable,
)
from airflow_lockprovider.lease.clock import boottime
from airflow_lockprovider.lease.errors import StoreError
from airflow_lockprovider.lease.store import Store
from tests.faults.proxy import Proxy

SETTINGS = LeaseSettings(ttl=1.5, handover_ttl=1.0, skip_after=1.0, poll_interval=0.03)
MUTEXES = tuple(f"m{number}" for number in range(12))
CAPACITIES = {**dict.fromkeys(MUTEXES, 1), "rw": 1, "three": 3}
HOUR = 3600.0
LOSING = (
    "try_acquire", "confirm", "confirm_and_unlisten", "reserve", "renew", "release", "enqueue", "enqueue_and_listen",
)  # fmt: skip
"""Verbs whose answers get lost."""


class Client:
    """``guarded``: False makes the negative twin. ``mishaps``: how often something goes wrong, 0 to 1."""

    def __init__(self, dsn: str, *, seed: int, number: int, guarded: bool, mishaps: float) -> None:
        self.random = random.Random(f"{seed} {number}")
        self.guarded, self.mishaps = guarded, mishaps
        self.proxy = Proxy(dsn)
        self.clock_error = (0.0, HOUR, -HOUR, 0.0)[number % 4] if mishaps else 0.0
        self.clock_steps = bool(mishaps) and number % 4 == 3
        self.figures: Counter[str] = Counter()
        self.engine = LeaseEngine(Store(self.connect, schema="lockprovider"), SETTINGS, clock=self.clock)
        self._call, self.engine.store.call = self.engine.store.call, self.call  # type: ignore[method-assign]
        self._data: Any = None
        self.stopping = False
        self.left_behind: list[int] = []
        signal.signal(signal.SIGTERM, self.stop)
        faulthandler.register(signal.SIGUSR1)  # where it hangs, if it does not end

    def stop(self, *_: Any) -> None:
        self.stopping = True

    def connect(self) -> Any:
        return psycopg.connect(self.proxy.dsn, connect_timeout=10)

    def clock(self) -> float:
        return boottime() + self.clock_error

    def unlucky(self, chance: float) -> bool:
        return self.random.random() < chance * self.mishaps

    def call(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Every verb, with answers that get lost."""
        losing = name in LOSING and self.unlucky(0.02)
        if losing:
            self.proxy.drop_answer()
        rows = self._call(name, **params)
        if losing and self.proxy.dropped():
            self.figures[f"lost answers of {name}"] += 1
        if name.startswith("enqueue"):
            self.data.execute("insert into asked values (%s, %s)", (params["lock_names"][0], params["owner_id"]))
        return rows

    @property
    def data(self) -> Any:
        """The connection that the user's own work is done on."""
        if self._data is None or self._data.closed:
            self._data = self.connect()
            self._data.autocommit = True
        return self._data

    def freeze(self, chance: float) -> None:
        """Stop this process, here. The run wakes it up when its lease is long over."""
        if self.unlucky(chance):
            self.figures["stopped itself"] += 1
            os.kill(os.getpid(), signal.SIGSTOP)

    def run(self) -> None:
        while not self.stopping:
            self.proxy.delay = 0.05 if self.unlucky(0.01) else 0.0
            if self.clock_steps and self.unlucky(0.02):
                self.clock_error = self.random.choice((0.0, HOUR, -HOUR))
            try:
                self.round()
            except (LeaseLost, LeaseWaitTimeout, StoreUnavailable, StoreError, psycopg.Error) as error:
                self.figures[type(error).__name__] += 1
                if self._data is not None:
                    self._data.close()
                time.sleep(0.01)
        print(json.dumps(self.figures), flush=True)

    def round(self) -> None:
        name = self.random.choice((*MUTEXES, "rw", "three"))
        shared = name == "rw" and self.random.random() < 0.7
        lease = self.take(name, shared)
        if lease is None:
            self.figures["busy"] += 1
            time.sleep(0.001)
            return
        self.freeze(0.001)
        if name in MUTEXES and self.random.random() < 0.4:
            # Half a ttl after the last renewal the guard's idle timeout does not end before the lease does.
            late = self.unlucky(0.02)
            if late:
                self.figures["thought for long"] += 1
                time.sleep(SETTINGS.ttl * self.random.uniform(0.5, 0.95))
            self.increment(lease, frozen=late and self.random.random() < 0.5)
        if self.random.random() < 0.1:
            lease = self.engine.renew(lease)
        if self.unlucky(0.01):
            self.figures["not given back"] += 1
            return
        self.engine.release(lease)

    def take(self, name: str, shared: bool) -> Lease | None:
        """One of the ways to a lease: a try, a wait, or what a triggerer and a worker do together."""
        way = self.random.random()
        request = {
            "shared": shared,
            "context": {"shared": shared},
            "owner_id": str(uuid.UUID(int=self.random.getrandbits(128))),
        }
        if way < 0.75:
            return self.engine.try_acquire(name, **request) or None  # type: ignore[arg-type]
        if way < 0.9:
            return self.engine.acquire(name, wait_timeout=10, **request)  # type: ignore[arg-type]
        process = f"process {os.getpid()}"
        if self.left_behind:  # as a coordinator does: else they would live as long as this process polls for others
            self.engine.unwatch(process, self.left_behind)
            self.left_behind.clear()
        ticket = self.engine.enqueue(name, **request)  # type: ignore[arg-type]
        self.left_behind.append(ticket.number)
        self.freeze(0.003)
        for _ in range(300):
            (view,) = self.engine.poll(process, [ticket.number])
            if view.verdict == "gone":
                self.figures["lost its ticket"] += 1
                return None
            if view.verdict == "try" and self.engine.reserve(ticket.number):
                self.freeze(0.005)
                return self.engine.confirm(ticket.number, ticket.owner_id, context=request["context"]) or None  # type: ignore[arg-type]
            if self.stopping:
                break
            time.sleep(SETTINGS.poll_interval)
        self.engine.withdraw(ticket.number, ticket.owner_id)
        return None

    def increment(self, lease: Lease, frozen: bool) -> None:
        """Read, think, write: guarded, or as a careless program does it. ``frozen``: it surely freezes in between."""
        data = self.data
        with data.transaction():
            if self.guarded:
                data.execute(lease.guard)
            self.freeze(1e9 if frozen else 0.004)
            ((before,),) = data.execute("select n from counter where lock_name = %s", (lease.lock_name,)).fetchall()
            self.freeze(0.004)
            data.execute("update counter set n = %s where lock_name = %s", (before + 1, lease.lock_name))
            self.freeze(0.005)
            data.execute(
                "insert into ledger (lock_name, token, before) values (%s, %s, %s)",
                (lease.lock_name, lease.token, before),
            )
            if self.guarded:
                data.execute("select lockprovider.still_held(%s, %s)", (lease.lock_name, lease.token))
        self.figures["increments"] += 1


if __name__ == "__main__":
    Client(sys.argv[1], **json.loads(sys.argv[2])).run()
