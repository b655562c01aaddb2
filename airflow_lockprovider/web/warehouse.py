"""The databases with the locks, as the page asks them: in few threads, for a short time, never in Airflow's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, TypeVar

from fastapi import Depends, HTTPException, Query, status

from airflow_lockprovider import config
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError, StoreUnavailable
from airflow_lockprovider.web.security import User, may_steer

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

THREADS = 3
"""Per database, and as many connections: who asks when all are taken waits for one."""
CALL_LIMIT = 8.0
"""Seconds for one call to the database."""
PATIENCE = 12.0
"""Seconds until a person is told that the database does not answer."""


class Warehouse:
    """The engine over one Airflow connection. The connection is looked up anew after any trouble with it."""

    def __init__(self, conn_id: str, make: Callable[[str], LeaseEngine] = LeaseHook) -> None:
        self.conn_id = conn_id
        self._make = make
        self._engine: LeaseEngine | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"locks-page-{conn_id}")

    async def ask(self, question: Callable[[LeaseEngine], Answer]) -> Answer:
        """Ask in a thread. Raises what the engine raises; StoreUnavailable when there is no answer in time."""
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)
        try:
            return await asyncio.wait_for(asked, PATIENCE)
        except TimeoutError as error:
            raise StoreUnavailable(
                f"the database with the locks (connection {self.conn_id!r}) has not answered for {PATIENCE:g} s"
            ) from error

    def _ask(self, question: Callable[[LeaseEngine], Answer]) -> Answer:
        engine = self._engine
        if engine is None:
            self._engine = engine = self._make(self.conn_id)
        engine.limit_calls(CALL_LIMIT)
        try:
            return question(engine)
        except LockProviderError as error:
            log.warning("locks page: connection %s: %s", self.conn_id, error)
            if isinstance(error, StoreUnavailable | ConfigurationError):
                self._engine = None  # whoever repairs the connection need not restart Airflow
            raise


_warehouses: dict[str, Warehouse] = {}


def warehouse(
    conn_id: Annotated[
        str | None, Query(description="Airflow connection of the locks; default: the first one.")
    ] = None,
) -> Warehouse:
    """The warehouse that a request is about. 404 for a connection that the page was not told of."""
    known = config.page_conn_ids()
    wanted = known[0] if conn_id is None else conn_id
    if wanted not in known:
        told = "name it in [lockprovider] page_conn_ids, or take one of"
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"connection {wanted!r} is not shown: {told} {', '.join(known)}")
    return _warehouses.setdefault(wanted, Warehouse(wanted))


Asked = Annotated[Warehouse, Depends(warehouse)]


# Not async: an auth manager may ask its database, and does so in a thread then.
def _may_act(user: User, asked: Asked) -> bool:
    return may_steer(user, asked.conn_id)


MayAct = Annotated[bool, Depends(_may_act)]
"""Whether who asks may revoke, pause and resume the locks of this warehouse."""
