"""docs/operations.md: its roles can do their job and nothing else, its SQL and its commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost, connect
from airflow_lockprovider.lease.statements import statements

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
ROLES, CUT_OFF = re.findall(r"^ *```sql\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
PASSWORDS = dict(re.findall(r"create role (\w+) login password '([^']+)'", ROLES))


class Warehouse:
    """A server of its own, for roles belong to the whole server: prepared as the page says."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.dsn = server.create_database("warehouse")
        with psycopg.connect(self.dsn, autocommit=True) as administrator:
            administrator.execute(ROLES.encode())
            administrator.execute(
                "create table public.sales (n integer); grant all on public.sales to airflow_worker, loader"
            )
        self._open: list[LeaseEngine] = []

    def address(self, user: str) -> str:
        return psycopg.conninfo.make_conninfo(self.dsn, user=user, password=PASSWORDS[user])

    def sql(self, user: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.address(user), autocommit=True)

    def engine(self, user: str) -> LeaseEngine:
        engine = connect(self.address(user))
        self._open.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._open:
            engine.close()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("operations")) as server:
        made = Warehouse(server)
        made.engine("locks_owner").init_schema()
        yield made
        made.close()


def test_the_owner_makes_and_upgrades_the_tables_without_being_superuser(warehouse: Warehouse) -> None:
    assert warehouse.engine("locks_owner").init_schema() is False
    with warehouse.sql("locks_owner") as owner:
        owner.execute("update lockprovider.schema_version set digest = 'an older one'")
        assert owner.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("create role another")
    assert warehouse.engine("locks_owner").init_schema() is True


def test_workers_take_keep_guard_and_give_back_and_steer_nothing(warehouse: Warehouse) -> None:
    worker = warehouse.engine("airflow_worker")
    with worker.hold("by a worker") as lease, worker.fenced(lease) as cursor:
        cursor.execute("insert into public.sales values (1)")
    assert worker.history("by a worker")
    for verb in (
        lambda: worker.revoke("by a worker", by="me", reason="why"),
        lambda: worker.pause("by a worker", by="me", reason="why"),
        lambda: worker.set_capacity("by a worker", 2),
        worker.init_schema,
    ):
        with pytest.raises(ConfigurationError, match="permission denied"):
            verb()
    with warehouse.sql("airflow_worker") as plain, pytest.raises(psycopg.errors.InsufficientPrivilege):
        plain.execute("delete from lockprovider.lease_event")


def test_the_page_steers_and_ends_sessions_and_owns_nothing(warehouse: Warehouse) -> None:
    page, worker = warehouse.engine("airflow_page"), warehouse.engine("airflow_worker")
    lease = worker.try_acquire("stuck")
    assert lease
    assert [one.token for one in page.leases("stuck")] == [lease.token]
    with psycopg.connect(warehouse.address("airflow_worker")) as late:
        late.execute(lease.guard)
        late.execute("insert into public.sales values (2)")
        assert page.revoke("stuck", by="ann", reason="it hangs", terminate=True)
        with pytest.raises(psycopg.OperationalError):
            late.execute("select 1")
    with pytest.raises(LeaseLost):
        worker.renew(lease)
    assert page.pause("stuck", by="ann", reason="why")
    assert page.resume("stuck", by="ann")
    page.set_capacity("stuck", 2)
    with pytest.raises(ConfigurationError, match="permission denied"):
        page.init_schema()
    with warehouse.sql("airflow_page") as plain:
        for statement in (
            "select * from public.sales",
            "update lockprovider.lock set last_token = 0",
            "delete from lockprovider.lease",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                plain.execute(statement)  # type: ignore[arg-type]


def test_dashboards_read_and_a_loader_guards_and_neither_does_more(warehouse: Warehouse) -> None:
    lease = warehouse.engine("airflow_worker").try_acquire("loaded")
    assert lease
    with warehouse.sql("grafana_reader") as reader:
        assert ("loaded",) in reader.execute("select lock_name from lockprovider.locks").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(lease.guard)
    with warehouse.sql("loader") as loader:
        with loader.transaction():
            loader.execute(lease.guard)
            loader.execute("insert into public.sales values (3)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            loader.execute("select * from lockprovider.locks")
    with pytest.raises(ConfigurationError, match="permission denied"):
        warehouse.engine("loader").try_acquire("loaded")


@pytest.mark.parametrize(
    ("user", "refused"),
    [
        ("airflow_worker", {"set_capacity", "revoke", "pause", "resume", "forget_done", "record_version"}),
        ("airflow_page", {"record_version"}),
        ("locks_owner", set()),
    ],
)
def test_each_user_may_send_every_statement_of_its_work(warehouse: Warehouse, user: str, refused: set[str]) -> None:
    """Rights are checked when a statement is planned, so that none of them has to be run."""
    found, planned = set(), 0
    with warehouse.sql(user) as connection:
        for name, text in statements("postgres", "lockprovider")._calls.items():
            if name in ("listen", "unlisten"):
                continue  # no plans, no rights
            try:
                connection.execute(("explain " + re.sub(r"%\(\w+\)s", "null", text).replace("%%", "%")).encode())
                planned += 1
            except psycopg.errors.InsufficientPrivilege:
                found.add(name)
    assert found == refused
    assert planned > 40


def test_old_history_is_cut_off_and_the_new_stays(warehouse: Warehouse) -> None:
    worker = warehouse.engine("airflow_worker")
    for name in ("old", "new"):
        worker.release(worker.try_acquire(name))  # type: ignore[arg-type]
    with warehouse.sql("locks_owner") as owner:
        owner.execute("update lockprovider.lease_event set at = at - interval '91 days' where lock_name = 'old'")
        owner.execute(CUT_OFF.encode())
    assert worker.history("old") == []
    assert worker.history("new")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(airflow locks [^`]*)`", TEXT))))
def test_every_command_of_the_page_exists(command: str) -> None:
    from airflow.cli.cli_parser import get_parser

    words = shlex.split(command.replace("…", "because").replace("--capacity N", "--capacity 2"))
    assert callable(get_parser().parse_args(words[1:]).func)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"\]\(([\w/]+\.md)\)", TEXT))))
def test_every_page_that_it_names_is_there(file: str) -> None:
    assert (Path(__file__).parents[2] / "docs" / file).is_file()
