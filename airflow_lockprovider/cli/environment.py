"""Environment variables that hold for one command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set a variable, and put back at the end what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def server() -> Iterator[None]:
    """Let connections come from the metadata database too, as in Airflow's own commands.

    Without this word Airflow 3 takes a process of unknown kind for one that may not read that database, and looks
    into environment variables and the secrets backend only.
    """
    with variable("_AIRFLOW_PROCESS_CONTEXT", "server"):
        yield
