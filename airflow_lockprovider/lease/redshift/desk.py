"""Where decisions are made: transactions that take the mutex first, tried again when they lose against others."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import StoreError, StoreUnavailable
from airflow_lockprovider.lease.redshift.conflict import is_conflict, is_timeout
from airflow_lockprovider.lease.redshift.fence import fence_table
from airflow_lockprovider.lease.redshift.session import Session, discard
from airflow_lockprovider.lease.redshift.transaction import FenceNeeded, Transaction

log = logging.getLogger(__name__)
Result = TypeVar("Result")

TRIES = 8
"""How often a transaction is sent before a conflict counts as "the database does not serve"."""
_BACKOFF = 0.02
_ROUNDS = 3


class Desk:
    """Makes decisions on one connection, which is in autocommit mode: BEGIN and COMMIT are statements of our own."""

    def __init__(self, session: Session, sleep: Callable[[float], None] = time.sleep) -> None:
        self.session, self._sleep = session, sleep

    def look(self, read: Callable[[Transaction], Result]) -> Result:
        """Read without the mutex: a picture for people and polls, never a ground for a grant."""
        return read(Transaction(self.session))

    def decide(self, decision: Callable[[Transaction], Result]) -> Result:
        """Run a decision under the mutex and commit it. It may be run several times: it must only act through rows.

        Where a dead lease is in the way it is run again with the lock's fence; where somebody has that fence (a guarded
        transaction is open), once more without, and the dead lease counts.
        """
        fences: frozenset[str] = frozenset()
        for _ in range(_ROUNDS):
            try:
                return self._decided(decision, fences)
            except FenceNeeded as need:
                fences |= need.lock_names
            except _FenceBusy:
                break
        return self._decided(decision, draining=True)

    def alone(self, work: Callable[[], Result], fences: Collection[str] = (), *, mutex: str = "lock_mutex") -> Result:
        """Run statements of this session under the mutex and commit them; again, if they lose against others.

        ``mutex``: the statement that locks it.
        """
        for attempt in range(TRIES):
            try:
                return self._once(work, fences, mutex)
            except StoreError as error:
                if not is_conflict(error):
                    raise
                last = error
            # Growing, and by chance: those who met must not meet again.
            self._sleep(random.uniform(0, _BACKOFF * 2**attempt))
        raise StoreUnavailable(
            f"{TRIES} tries in a row lost against other transactions; the last time: {last}"
        ) from last

    def _decided(
        self, decision: Callable[[Transaction], Result], fences: Collection[str] = (), *, draining: bool = False
    ) -> Result:
        def work() -> Result:
            transaction = Transaction(self.session, fences=fences, draining=draining)
            result = decision(transaction)
            transaction.finish()
            return result

        return self.alone(work, fences)

    def _once(self, work: Callable[[], Result], fences: Collection[str], mutex: str) -> Result:
        run = self.session.run
        try:
            if fences:
                run("brief")
            run("begin")
            if fences:
                self._take(fences)
                run("patient")
            # Alone and first of all that reads: a snapshot from before the lock would decide about the past.
            run(mutex)
            result = work()
            run("commit")
            return result
        except Exception:
            self._undo()
            raise
        except BaseException:
            # An interrupt came up from under a statement. What is still on its way, the server shall end.
            driver.abandon(self.session.connection)
            discard(self.session.connection)
            raise

    def _take(self, fences: Collection[str]) -> None:
        for table in sorted(map(fence_table, fences)):
            try:
                self.session.run("lock_fence", fence=table)
            except StoreError as error:
                if is_timeout(error):
                    raise _FenceBusy from error
                raise

    def _undo(self) -> None:
        try:
            self.session.run("rollback")
            self.session.run("patient")  # a rolled back SET is undone as well
        except Exception:
            log.debug("undoing a transaction failed", exc_info=True)
            discard(self.session.connection)


class _FenceBusy(Exception):
    """Internal: a guarded transaction of the lock is open."""
