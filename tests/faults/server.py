"""A Postgres server that may crash, and may be a standby."""

from __future__ import annotations

import os
import signal

from airflow_lockprovider.demo.ports import free_port
from airflow_lockprovider.demo.postgres import EmbeddedPostgres


class Server(EmbeddedPostgres):
    """A server of one test. It comes back on the same port."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, port=free_port())

    def crash(self) -> None:
        """End at once, without writing anything more: what was not flushed is lost."""
        os.kill(int(self._recorded()["pid"]), signal.SIGQUIT)
        self.stop()

    def become_standby(self) -> None:
        (self.data_dir / "cluster" / "standby.signal").touch()

    def _recorded(self) -> dict[str, str]:
        recorded = super()._recorded()
        if recorded.get("status") == "standby":  # how a server in recovery says that it takes connections
            recorded["status"] = "ready"
        return recorded
