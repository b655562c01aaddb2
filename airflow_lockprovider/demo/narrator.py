"""Tells what Airflow's runs do while they do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from airflow_lockprovider.demo.records import records

Run = tuple[str, str]

_FINISHED = ("success", "failed")
_WORTH_TELLING = ("running", "deferred", "success", "failed", "skipped", "upstream_failed")
_LOOK = 1.0


class RunsTakeTooLongError(RuntimeError):
    """The runs were not where they should be when the time was over."""


@dataclass(slots=True)
class States:
    """All runs and tasks at one moment."""

    runs: dict[Run, str] = field(default_factory=dict)
    tasks: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def finished(self, runs: Iterable[Run]) -> bool:
        """Whether all of these runs have ended, well or not."""
        return all(self.runs.get(run) in _FINISHED for run in runs)


class Narrator:
    """Looks into Airflow's metadata database once a second and says what has changed.

    ``wait`` is called between two looks, and may raise when something has died.
    """

    def __init__(self, metadata_dsn: str, say: Callable[[str], None], wait: Callable[[float], None]) -> None:
        self._dsn, self._say, self._wait = metadata_dsn, say, wait
        self._told = States()

    def until(self, reached: Callable[[States], bool], *, timeout: float) -> States:
        """Returns when ``reached`` says so. Raises RunsTakeTooLongError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            states = self._look()
            self._tell(states)
            if reached(states):
                return states
            if time.monotonic() > deadline:
                open_runs = ", ".join(f"{dag_id} {run_id}" for dag_id, run_id in states.runs
                                      if states.runs[dag_id, run_id] not in _FINISHED)  # fmt: skip
                raise RunsTakeTooLongError(f"after {timeout:.0f} s these runs are not finished: {open_runs}")
            self._wait(_LOOK)

    def _look(self) -> States:
        states = States()
        for row in records(self._dsn, "run_states"):
            run = (row["dag_id"], row["run_id"])
            states.runs[run] = row["state"]
            if row["task_id"] is not None:
                mapped = "" if row["map_index"] < 0 else f"[{row['map_index']}]"
                states.tasks[*run, row["task_id"] + mapped] = row["task_state"]
        return states

    def _tell(self, states: States) -> None:
        for run, state in states.runs.items():
            news = [
                f"{task} {now}"
                for (dag_id, run_id, task), now in states.tasks.items()
                if (dag_id, run_id) == run and now in _WORTH_TELLING and self._told.tasks.get((*run, task)) != now
            ]
            if state in _FINISHED and self._told.runs.get(run) != state:
                news.append(f"so the run is a {'success' if state == 'success' else 'failure'}")
            if news:
                self._say(f"{run[0]} {run[1]}: {', '.join(news)}")
        self._told = states
