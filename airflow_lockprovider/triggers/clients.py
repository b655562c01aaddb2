"""The boto3 clients of a plan, from Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_lockprovider.aws.account_host import without_account
from airflow_lockprovider.aws.list_pages import LEAN, speed_up
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan

_THREADS = 16
"""Looks at the same time, in one triggerer. Threads of our own: the loop's default ones are few, all triggers share
them, and a slow answer would hold up somebody else's. Not more: threads that read answers take turns with the loop,
some milliseconds each."""
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 30
Answer = TypeVar("Answer")

# Shared while any trigger uses it: a client costs 0.1 to 0.3 s of processor time, most of it under the global lock.
_shared: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()


def client_of(endpoint: Endpoint, connection: Any = None, *, resolved: bool = False) -> Any:
    """A boto3 client for ``endpoint``. ``resolved``: use ``connection`` (or none) instead of looking it up.
    ConfigurationError if nobody names a region."""
    # Imported here: it takes seconds, and neither parsing a DAG nor the triggerer's loop should wait for it.
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    hook: Any = AwsBaseHook(aws_conn_id=endpoint.conn_id, region_name=endpoint.region, client_type=endpoint.service)
    if resolved:
        hook.conn_config = AwsConnectionWrapper(conn=connection, region_name=endpoint.region)
    if hook.conn_config.botocore_config is None:  # the connection's config_kwargs come first
        # A look is repeated anyway: better to hear soon that it did not work.
        hook.conn_config.botocore_config = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=_THREADS,
        )
    try:
        client = hook.get_conn()
    except NoRegionError as error:
        raise ConfigurationError(
            f"no region for {endpoint.service}: connection {endpoint.conn_id!r} is not there, or names no region_name; "
            "add it, or give the region"
        ) from error
    if endpoint.service == "s3control":
        return without_account(client)
    return speed_up(client, members=LEAN) if endpoint.service == "s3" else client


async def connect(plan: ProbePlan, instead_of: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The clients of a plan; ``instead_of`` these, which did not serve (an expired token, a dead connection).

    Connections are asked for on the loop, where Airflow's API is asynchronous; clients are built in a thread, where
    botocore reads its files.
    """
    clients = {}
    for name, endpoint in plan.endpoints.items():
        connection = await _connection_of(endpoint)
        key = (endpoint, *_content(connection))
        client = _shared.get(key)
        if client is None or client is (instead_of or {}).get(name):
            client = await in_thread(partial(client_of, endpoint, connection, resolved=True))
            _shared[key] = client
        clients[name] = client
    return clients


async def in_thread(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """As asyncio.to_thread, with threads of our own. The context goes along: the log of a trigger hangs on it."""
    from asyncio import get_running_loop

    return await get_running_loop().run_in_executor(_threads(), copy_context().run, work, *arguments)


async def _connection_of(endpoint: Endpoint) -> Any:
    if not endpoint.conn_id:
        return None
    try:
        return await BaseHook.aget_connection(endpoint.conn_id)
    except AirflowNotFoundException:
        return None  # as the hooks of the amazon provider do: fall back on boto3's own credentials


def _content(connection: Any) -> tuple[Any, ...]:
    """A connection that was changed is another one."""
    if connection is None:
        return ()
    return (connection.host, connection.login, connection.password, connection.port, str(connection.extra))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="lockprovider-readiness")
