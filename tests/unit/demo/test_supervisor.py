from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_lockprovider.demo.supervisor import ProcessEndedError, Supervisor

pytestmark = pytest.mark.filterwarnings("error")

PYTHON = [sys.executable, "-I", "-S", "-c"]
FOREVER = [*PYTHON, "import time; time.sleep(60)"]


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_end_of_the_block_stops_all_in_reverse_and_then_what_was_held(tmp_path: Path) -> None:
    order: list[str] = []

    @contextmanager
    def held():
        yield "resource"
        order.append(f"held, while gone: {all(is_gone(pid) for pid in pids)}")

    with Supervisor(tmp_path / "log folder") as supervisor:
        assert supervisor.hold(held()) == "resource"
        supervisor.start("one", FOREVER)
        supervisor.start("two", FOREVER)
        pids = supervisor.pids().values()
        supervisor.check()
    assert order == ["held, while gone: True"]


def test_first_death_names_the_process_its_exit_code_and_its_last_words(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("healthy", FOREVER)
        healthy = supervisor.pids()["healthy"]
        supervisor.start("sick", [*PYTHON, "print('my last words'); raise SystemExit(3)"])
        with pytest.raises(ProcessEndedError, match=r"(?s)sick ended with exit code 3; .*my last words"):
            supervisor.wait()
    assert is_gone(healthy)


def test_death_by_signal_is_told_by_its_name(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("killed", [*PYTHON, "import os; os.kill(os.getpid(), 9)"])
        with pytest.raises(ProcessEndedError, match="SIGKILL"):
            supervisor.wait(20)


def test_watched_thing_that_ended_counts_like_a_process(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.watch(lambda: None)
        supervisor.check()
        supervisor.watch(lambda: "the database is gone")
        with pytest.raises(ProcessEndedError, match="the database is gone"):
            supervisor.check()


def test_run_waits_for_success_and_reports_failure(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.run("good", [*PYTHON, "print('done')"])
        assert supervisor.log_file("good").read_text() == "done\n"
        with pytest.raises(ProcessEndedError, match=r"(?s)bad ended with exit code 1.*ValueError: no"):
            supervisor.run("bad", [*PYTHON, "raise ValueError('no')"])
        supervisor.check()


def test_run_ends_when_another_process_dies(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("sick", [*PYTHON, "raise SystemExit(3)"])
        with pytest.raises(ProcessEndedError, match="sick"):
            supervisor.run("long", FOREVER)
        pids = supervisor.pids()
    assert all(is_gone(pid) for pid in pids.values())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT), (signal.SIGKILL, -9)]
)
def test_nothing_is_left_when_the_supervisor_is_ended_by(tmp_path: Path, number: int, code: int) -> None:
    """The child has a child of its own, in a session of its own, that ignores SIGTERM: as bad as it gets."""
    pids = tmp_path / "pids"
    stray = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    child = f"""
import os, subprocess, sys, time
stray = subprocess.Popen([sys.executable, "-c", {stray!r}], start_new_session=True)
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{stray.pid}}\\n")
time.sleep(60)
"""
    program = f"""
import sys
from airflow_lockprovider.demo.supervisor import Supervisor
with Supervisor({str(tmp_path / "logs")!r}) as supervisor:
    supervisor.start("child", [sys.executable, "-c", {child!r}])
    supervisor.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"))
        process.send_signal(number)
        assert process.wait(20) == code
    for pid in map(int, pids.read_text().split()):
        if sys.platform == "linux":
            wait_for(lambda pid=pid: is_gone(pid))


def test_second_signal_ends_the_grace_time(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    program = f"""
import sys
from airflow_lockprovider.demo.supervisor import Supervisor
with Supervisor({str(tmp_path)!r}, grace=300) as supervisor:
    supervisor.start("stubborn", [sys.executable, "-c", {stubborn!r}])
    try:
        supervisor.wait()
    finally:
        print("stopping", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        log = tmp_path / "stubborn.log"
        wait_for(lambda: log.exists() and log.read_text() == "up\n")
        process.terminate()
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            process.terminate()
            time.sleep(0.1)
        assert process.poll() == 143


def test_name_can_only_be_taken_once(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start("one", FOREVER)
        with pytest.raises(ValueError, match="'one'"):
            supervisor.start("one", FOREVER)
