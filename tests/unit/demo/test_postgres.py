from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from airflow_lockprovider.demo import postgres as postgres_module
from airflow_lockprovider.demo import postgres_binaries
from airflow_lockprovider.demo.ports import is_listening
from airflow_lockprovider.demo.postgres import EmbeddedPostgres, PostgresError
from airflow_lockprovider.demo.postgres_binaries import NoPostgresError, candidate_folders

pytestmark = pytest.mark.filterwarnings("error")


def ask(dsn: str, question: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def running_pid(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def test_starts_in_a_folder_with_spaces_and_serves_any_database_name(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a folder" / "of data") as server:
        dsn = server.create_database('odd "name"/ä')
        assert ask(dsn, "SELECT current_database()") == 'odd "name"/ä'
        assert ask(dsn, "SHOW timezone") == "UTC"
        assert ask(dsn, "SHOW fsync") == "off"
        assert server.create_database('odd "name"/ä') == dsn
        port = server.port
    assert not is_listening(port)


def test_wrong_password_is_refused_and_an_odd_one_works(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", password="p@ss/w:rd %") as server:
        assert ask(server.dsn(), "SELECT 1") == 1
        wrong = f"postgresql://lockprovider:guess@127.0.0.1:{server.port}/postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.dsn(), "SHOW listen_addresses") == "127.0.0.1"
    assert ask(postgres.dsn(), "SHOW unix_socket_directories") == ""


def test_durable_server_keeps_fsync(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data", durable=True) as server:
        assert ask(server.dsn(), "SHOW fsync") == "on"


def test_data_and_password_are_still_there_at_the_next_start(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        with psycopg.connect(server.create_database("kept")) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        password = (tmp_path / "password").read_text()
    with EmbeddedPostgres(tmp_path) as server:
        assert ask(server.dsn("kept"), "SELECT n FROM t") == 7
    assert (tmp_path / "password").read_text() == password
    assert (tmp_path / "password").stat().st_mode & 0o077 == 0
    with pytest.raises(PostgresError, match="another password"):
        EmbeddedPostgres(tmp_path, password="other").start()


def test_database_from_a_template_holds_what_the_template_holds(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.create_database("template_of_test")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 3 AS n")
    copy = postgres.create_database("copy_of_test", template="template_of_test")
    with psycopg.connect(copy):  # somebody still connected does not keep it from being dropped
        assert ask(copy, "SELECT n FROM t") == 3
        postgres.drop_database("copy_of_test")
    postgres.drop_database("template_of_test")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


def test_interrupted_initdb_is_not_taken_for_done(tmp_path: Path) -> None:
    (tmp_path / "cluster.new").mkdir()
    (tmp_path / "cluster.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


def test_surrounding_pg_variables_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    with EmbeddedPostgres(tmp_path) as server:
        monkeypatch.delenv("PGOPTIONS")  # the client would obey it
        assert ask(server.dsn(), "SELECT 1") == 1


def test_taken_port_is_named_when_it_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PostgresError, match=f"port {port} is taken"):
            EmbeddedPostgres(tmp_path, port=port).start()


def test_another_port_is_tried_when_the_free_one_gets_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        offers = [taken.getsockname()[1], postgres_module.free_port()]
        monkeypatch.setattr(postgres_module, "free_port", lambda: offers.pop(0))
        with EmbeddedPostgres(tmp_path) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
    assert offers == []


def test_folder_in_use_is_refused_by_name_of_its_owner(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path) as server,
        pytest.raises(PostgresError, match=f"in use by process {os.getpid()}"),
    ):
        EmbeddedPostgres(tmp_path).start()
    assert server.ended() is None
    with EmbeddedPostgres(tmp_path):
        pass


def test_server_that_dies_says_so(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        assert server.ended() is None
        os.kill(running_pid(server), signal.SIGQUIT)
        deadline = time.monotonic() + 20
        while server.ended() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "immediate shutdown" in str(server.ended())


def test_server_does_not_outlive_an_owner_killed_with_its_leash(tmp_path: Path) -> None:
    pid = _orphaned_server(tmp_path, "os.kill(server._server.pid, 9)")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with EmbeddedPostgres(tmp_path) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


def test_stale_server_of_a_killed_owner_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    # A stopped leash and a server that nobody told of the death: the worst that can be left behind.
    pid = _orphaned_server(tmp_path, "os.kill(server._server.pid, signal.SIGSTOP)")
    leash = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    try:
        with EmbeddedPostgres(tmp_path) as server:
            assert running_pid(server) != pid
            assert ask(server.dsn(), "SELECT 1") == 1
    finally:
        os.kill(leash, signal.SIGCONT)


def test_record_that_names_another_program_harms_neither(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        (tmp_path / "cluster" / "postmaster.pid").write_text(f"{bystander.pid}\n{tmp_path}/cluster\n0\n1\n")
        with EmbeddedPostgres(tmp_path) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
        assert bystander.poll() is None
        bystander.communicate(b"\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_user_namespaces_runs_it_as_nobody_even_in_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_binaries, "_AS_MAPPED_USER", ("false",))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    programs = next(iter(candidate_folders()))
    if not _is_open_to_all(programs):  # a checkout in root's own folder
        monkeypatch.setenv("LOCKPROVIDER_PG_BIN", str(programs))
        with pytest.raises(NoPostgresError, match=r"(?s)start as a normal user.*Permission denied"):
            EmbeddedPostgres(closed / "data").start()
        return
    with EmbeddedPostgres(closed / "data") as server:
        assert Path(f"/proc/{running_pid(server)}").stat().st_uid == 65534
    monkeypatch.undo()
    with EmbeddedPostgres(closed / "data") as server:  # and the same folder goes on working the other way
        assert ask(server.dsn(), "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


def test_folder_named_by_the_user_is_the_only_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKPROVIDER_PG_BIN", str(tmp_path / "none"))
    assert list(candidate_folders()) == [tmp_path / "none"]
    with pytest.raises(NoPostgresError, match=r"none: holds no postgres.*"):
        EmbeddedPostgres(tmp_path / "data").start()


def _is_open_to_all(folder: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


def _orphaned_server(data_dir: Path, last_act: str) -> int:
    """Starts a server in a process that commits `last_act` and is then killed; the server's pid."""
    code = f"""
import os, signal
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
server = EmbeddedPostgres({str(data_dir)!r}).start()
print((server.data_dir / "cluster" / "postmaster.pid").read_text().split()[0], flush=True)
{last_act}
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    return int(killed.stdout)
