"""The store of the dialect "redshift": the calls of `Store`, each a short transaction of plain statements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, StoreError
from airflow_lockprovider.lease.redshift import adopting, alerts, keeping, looks, once, page, steering, taking
from airflow_lockprovider.lease.redshift.answer import utc
from airflow_lockprovider.lease.redshift.conflict import exists_already, is_conflict
from airflow_lockprovider.lease.redshift.desk import TRIES, Desk
from airflow_lockprovider.lease.redshift.fence import fence_table, lock_key
from airflow_lockprovider.lease.redshift.session import Row, Session
from airflow_lockprovider.lease.redshift.transaction import naive
from airflow_lockprovider.lease.store import CALL_LIMIT, Store

_MODULES = (adopting, taking, keeping, steering, looks, once, page, alerts)


class RedshiftStore(Store):
    """Leases in Redshift. No keys, no row locks: every change is made while holding the table lock of `mutex`.

    Nothing listens: Redshift has no notifications, waiters poll.
    """

    listens = False

    def __init__(self, connect: driver.ConnectionFactory, *, schema: str) -> None:
        super().__init__(connect, schema=schema, dialect="redshift")

    def _call(self, name: str, params: dict[str, Any], *, again: bool = False) -> list[Row]:
        connection = self._connection()
        if not self._checked:
            self._check_version(connection)
            self._checked = True
        # redshift_connector does not show its socket, but has one.
        with self._watchdog.limit(getattr(connection, "_usock", connection), getattr(self._local, "limit", CALL_LIMIT)):
            return _verb(name)(Desk(Session(connection, self.sql)), **params)

    def _open(self, *, autocommit: bool) -> driver.Connection:
        with driver.translated():
            connection = driver.prepare(self._connect(), autocommit=True)
        session = Session(connection, self.sql)
        # GETDATE and now() speak the session's time zone: two clients in two zones would disagree by hours.
        session.run("utc")
        if autocommit:
            session.run("patient")
        else:
            connection.autocommit = False
        return connection

    def _installed(self, connection: driver.Connection) -> tuple[int, str] | None:
        rows = Session(connection, self.sql).run("installed")
        return (rows[0]["version"], rows[0]["digest"]) if rows else None

    # Guard

    def guard_text(self, lock_name: str, token: int) -> str:
        """Two statements: the fence alone and first, then the check, whose snapshot is then younger than the fence."""
        schema = self.sql.qualifier
        values = {"%(token)s": str(int(token)), "%(lock_key)s": lock_key(lock_name)}
        check = self.sql["check_of_guard"].replace(f'"{self.schema}"', schema)
        for place, value in values.items():
            check = check.replace(place, value)
        return f"lock {schema}.{fence_table(lock_name)};\n{' '.join(check.split())}"

    def fence(self, connection: driver.Connection, lock_names: Sequence[str]) -> None:
        """Lock the fences, in order, before the first read: the snapshot must be younger than they are."""
        session = Session(connection, self.sql)
        for table in sorted(map(fence_table, lock_names)):
            session.run("lock_fence", fence=table)

    def check(self, connection: driver.Connection, call: Literal["guard", "still_held"], name: str, token: int) -> None:
        """In a guarded transaction: after its `fence` ("guard"), or the last before COMMIT. Raises LeaseLost."""
        session = Session(connection, self.sql)
        if call == "guard":
            rows = session.run("lease_of_token", lock_name=name, token=token)
        else:
            session.run("alive")  # a transaction that has failed must not pass for one that can be committed
            # Its own snapshot is as old as its first read and shows no renewal: ask beside it.
            rows = Session(self._connection(), self.sql).run("lease_of_token", lock_name=name, token=token)
        stop = "; the transaction must not commit: stop this work and acquire the lock again"
        if not rows:
            raise LeaseLost(
                f'lease on "{name}" with token {token} is gone: it was released, revoked, or expired and was granted '
                f"anew{stop}"
            )
        state, expires, now = rows[0]["state"], naive(rows[0]["expires_at"]), naive(rows[0]["now"])
        if state != "held" or expires <= now:
            what = f"expired since {utc(expires)}" if state == "held" else state
            raise LeaseLost(f'lease on "{name}" with token {token} is not held any more: it is {what}{stop}')

    # Schema

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.sql.script("views.sql").encode()).hexdigest()[:16]

    def install(self) -> bool:
        """Create or upgrade tables and views, in one transaction under the mutex. False: nothing was to be done."""
        session = Session(self._open(autocommit=True), self.sql)
        try:
            for name in ("make_schema", "make_mutex", "make_version"):
                self._make(session, name)
            return Desk(session).alone(lambda: self._upgrade(session))
        except StoreError as error:
            if not exists_already(error):
                raise
            raise ConfigurationError(
                f"schema {self.schema!r} is in use by something else ({error}): the locks need a schema of their own"
            ) from error
        finally:
            driver.close(session.connection)

    def _make(self, session: Session, name: str) -> None:
        # Two people may do this at the same moment: "if not exists" is no lock.
        for attempt in range(TRIES):
            try:
                session.run(name)
                return
            except StoreError as error:
                if not (is_conflict(error) or exists_already(error)) or attempt == TRIES - 1:
                    raise

    def _upgrade(self, session: Session) -> bool:
        newest = self.sql.migrations[-1][0]
        found = self._installed(session.connection)
        if found == (newest, self._digest):
            return False
        if found and found[0] > newest:
            self._check_version(session.connection)
        if found:
            session.run("drop_views")
        for number, script in self.sql.migrations:
            if found is None or number > found[0]:
                self._script(session, script)
        self._script(session, self.sql.script("views.sql"))
        session.run("forget_version", version=newest)
        session.run("record_version", version=newest, digest=self._digest)
        return True

    def _script(self, session: Session, script: str) -> None:
        for statement in script.split(";\n"):
            if any(line and not line.startswith("--") for line in statement.splitlines()):
                session.execute(statement)


def _verb(name: str) -> Callable[..., list[Row]]:
    for module in _MODULES:
        verb = getattr(module, name, None)
        if verb is not None and verb.__module__ == module.__name__ and not name.startswith("_"):
            return verb  # type: ignore[no-any-return]
    raise ConfigurationError(f"{name!r} is not possible on Redshift yet: keep these locks in Postgres")
