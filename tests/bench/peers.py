"""The lock libraries that are measured, all behind the same two calls."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

TTL = 30
"""Seconds: nobody is to expire during a measurement."""


class Peer(Protocol):
    """A lock as one process uses it, again and again."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class Servers:
    """Where the servers of this run are. ``redis_port`` is None if there is none."""

    postgres_dsn: str
    redis_port: int | None


class Ours:
    """This package, as it is used without Airflow. Its lease is renewed and has a token."""

    def __init__(self, servers: Servers, name: str) -> None:
        from airflow_lockprovider.lease import connect

        self._engine = connect(servers.postgres_dsn)
        self._name = name
        self._lease: Any = None

    def acquire(self) -> None:
        self._lease = self._engine.acquire(self._name, wait_timeout=None, ttl=TTL)

    def release(self) -> None:
        self._engine.release(self._lease)


class RedisPy:
    """redis-py's Lock: SET NX PX, and a poll every 0.1 s."""

    def __init__(self, servers: Servers, name: str) -> None:
        redis: Any = importlib.import_module("redis")
        self._lock = redis.Redis(port=servers.redis_port).lock(name, timeout=TTL)

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class PythonRedisLock:
    """python-redis-lock: BLPOP wakes the next."""

    def __init__(self, servers: Servers, name: str) -> None:
        redis: Any = importlib.import_module("redis")
        redis_lock: Any = importlib.import_module("redis_lock")
        self._lock = redis_lock.Lock(redis.StrictRedis(port=servers.redis_port), name, expire=TTL)

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class SqlalchemyDlock:
    """sqlalchemy-dlock: a session advisory lock of Postgres; no expiry, a connection while it is held."""

    def __init__(self, servers: Servers, name: str) -> None:
        sqlalchemy: Any = importlib.import_module("sqlalchemy")
        dlock: Any = importlib.import_module("sqlalchemy_dlock")
        url = servers.postgres_dsn.replace("postgresql://", "postgresql+psycopg://", 1)
        connection = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT").connect()
        self._lock = dlock.create_sadlock(connection, name)

    def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


PEERS: dict[str, Callable[[Servers, str], Peer]] = {
    "airflow-lockprovider": Ours,
    "redis-py": RedisPy,
    "python-redis-lock": PythonRedisLock,
    "sqlalchemy-dlock": SqlalchemyDlock,
}
OURS = "airflow-lockprovider"
NEED_REDIS = ("redis-py", "python-redis-lock")
