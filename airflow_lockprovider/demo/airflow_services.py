"""A real Airflow as four processes: api-server, scheduler, dag-processor, triggerer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_lockprovider.demo.airflow_client import FINISHED, AirflowApiError, AirflowClient
from airflow_lockprovider.demo.airflow_environment import ADMIN, airflow_environment, passwords
from airflow_lockprovider.demo.ports import LOOPBACK, free_port
from airflow_lockprovider.demo.supervisor import Supervisor

_POLL = 0.5
# In this order, which the supervisor reverses at the end: the scheduler waits for running tasks, and these report to
# the api-server. Without the flag, scheduler and triggerer serve their logs on every network interface.
_PARTS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "dag-processor": (),
    "scheduler": ("--skip-serve-logs",),
    "triggerer": ("--skip-serve-logs",),
}
# Told to stop, the triggerer often overlooks that its own child is gone, and sits out ten seconds.
_NUDGES = {"triggerer": 2.0}


class AirflowNotReadyError(RuntimeError):
    """Airflow did not come up, or a Dag file cannot be imported."""


class RunNotFinishedError(RuntimeError):
    """A Dag run was not done when the time was over."""


class AirflowServices:
    """Runs Airflow from the folder `home`, on the Postgres database `metadata_dsn`, under `supervisor`.

    The supervisor stops it. `env` is what its processes run in, for other commands that should see the same
    Airflow; `client` speaks with it; `url`, `user` and `password` are for a person with a browser.
    """

    def __init__(
        self,
        home: str | os.PathLike[str],
        dags_folder: str | os.PathLike[str],
        metadata_dsn: str,
        supervisor: Supervisor,
        *,
        extra_env: Mapping[str, str] | None = None,
        port: int = 0,
        parallelism: int = 8,
    ) -> None:
        self.home = Path(home).resolve()
        self.port = port or free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.user = ADMIN
        self.password = passwords(self.home)[ADMIN]
        self.client = AirflowClient(self.url, self.user, self.password)
        self.env = airflow_environment(
            self.home,
            dags_folder=Path(dags_folder).resolve(),
            metadata_dsn=metadata_dsn,
            port=self.port,
            parallelism=parallelism,
            extra=extra_env,
        )
        self._supervisor = supervisor
        self._started_at = datetime.now(UTC)

    def command(self, *arguments: str) -> list[str]:
        """`airflow` with these arguments: by module, for the script of that name may not be on any path."""
        return [sys.executable, "-m", "airflow", *arguments]

    def migrate(self) -> None:
        """Creates or upgrades the metadata database."""
        self._supervisor.run("db-migrate", self.command("db", "migrate"), env=self.env, cwd=self.home)

    def start(self) -> None:
        """Starts the processes; they are of use when wait_until_healthy() returns."""
        self._started_at = datetime.now(UTC)
        for part, flags in _PARTS.items():
            self._supervisor.start(
                part, self.command(part, *flags), env=self.env, cwd=self.home, nudge=_NUDGES.get(part)
            )

    def wait_until_healthy(
        self, dag_ids: Iterable[str] = (), *, timeout: float = 180.0, say: Callable[[str], None] | None = None
    ) -> None:
        """Waits until all parts answer and these Dags are there; ends at once when a Dag file has an error."""
        wanted = set(dag_ids)
        deadline = time.monotonic() + timeout
        told = ""
        while True:
            awaited = self._awaited(wanted)
            if not awaited:
                return
            if say and awaited != told:
                say(f"waiting for {awaited}")
                told = awaited
            if time.monotonic() > deadline:
                raise AirflowNotReadyError(
                    f"Airflow is not ready after {timeout:.0f} s: still waiting for {awaited}; its logs are in"
                    f" {self._supervisor.logs}"
                )
            self._supervisor.wait(_POLL)

    def wait_for_runs(
        self, runs: Iterable[tuple[str, str]], *, timeout: float, say: Callable[[str], None] | None = None
    ) -> dict[tuple[str, str], str]:
        """(Dag id, run id) → "success" or "failed" when all of these runs are finished."""
        states: dict[tuple[str, str], str] = {}
        waiting = list(runs)
        deadline = time.monotonic() + timeout
        while waiting:
            for run in waiting.copy():
                state = self.client.run(*run)["state"]
                if state in FINISHED:
                    states[run] = state
                    waiting.remove(run)
                    if say:
                        say(f"{run[0]} {run[1]}: {state}")
            if waiting and time.monotonic() > deadline:
                raise RunNotFinishedError(f"not finished after {timeout:.0f} s: {self._describe(waiting)}")
            if waiting:
                self._supervisor.wait(_POLL)
        return states

    def raise_import_errors(self) -> None:
        for error in self._import_errors():
            raise AirflowNotReadyError(f"cannot import {error['filename']}:\n{error['stack_trace']}")

    def _awaited(self, dag_ids: set[str]) -> str:
        """What is still missing, in words; empty when nothing is."""
        try:
            health = self.client.health()
            if ill := [part.replace("_", "-") for part, status in health.items() if status != "healthy"]:
                if health.get("metadatabase") == "healthy":
                    self.raise_import_errors()
                return ", ".join(ill)
            self.raise_import_errors()
            missing = sorted(dag_ids - set(self.client.dag_ids()))
            return f"the Dags {', '.join(missing)}" if missing else ""
        except OSError:
            return "api-server"
        except AirflowApiError as error:
            if error.status < 500:
                raise
            return "api-server"

    def _import_errors(self) -> list[dict[str, Any]]:
        """Those of this start: an earlier one may have left some that are repaired by now."""
        found = self.client.import_errors()
        return [each for each in found if datetime.fromisoformat(each["timestamp"]) >= self._started_at]

    def _describe(self, runs: Iterable[tuple[str, str]]) -> str:
        described = []
        for dag_id, run_id in runs:
            states = self.client.task_states(dag_id, run_id).items()
            open_tasks = [
                f"{task} {state or 'not started'}" for task, state in states if state not in ("success", "skipped")
            ]
            described.append(f"{dag_id} {run_id} ({', '.join(open_tasks)})")
        return "; ".join(described)
