from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_lockprovider.demo.leash import leashed

PYTHON = [sys.executable, "-I", "-S", "-c"]
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="orphans are only handed over on Linux")


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
    stat = Path(f"/proc/{pid}/stat")  # a zombie is as good as gone: its parent has not looked yet
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def pid_in(file: Path) -> int:
    wait_for(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


@pytest.mark.parametrize(("code", "seen"), [("raise SystemExit(7)", 7), ("pass", 0)])
def test_exit_code_is_that_of_the_command(code: str, seen: int) -> None:
    assert subprocess.run(leashed([*PYTHON, code]), check=False).returncode == seen


def test_death_by_signal_shows_as_128_plus_its_number() -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    assert subprocess.run(leashed([*PYTHON, code]), check=False).returncode == 128 + signal.SIGKILL


def test_command_that_does_not_exist_is_named() -> None:
    tried = subprocess.run(leashed(["/no/such/program"]), capture_output=True, text=True, check=False)
    assert tried.returncode == 127
    assert "/no/such/program" in tried.stderr


def test_stop_reaches_the_command_as_its_own_stop_signal(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(42))
print("up", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(leashed([*PYTHON, code], stop_signal=signal.SIGINT), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == 42


def test_command_that_ignores_the_stop_is_killed_after_the_grace_time() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with subprocess.Popen(leashed([*PYTHON, code], grace=0.1), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGKILL


@LINUX_ONLY
def test_descendants_that_left_for_a_session_of_their_own_end_too(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    stray = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    code = f"""
import subprocess, sys
stray = subprocess.Popen([sys.executable, "-c", {stray!r}], start_new_session=True)
open({str(written)!r}, "w").write(f"{{stray.pid}}\\n")
"""
    subprocess.run(leashed([*PYTHON, code]), check=False, timeout=20)
    assert is_gone(pid_in(written))


def test_command_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    command = f"import os, time; open({str(written)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    owner = f"""
import subprocess, sys
from airflow_lockprovider.demo.leash import leashed
subprocess.run(leashed([sys.executable, "-c", {command!r}]))
"""
    with subprocess.Popen([sys.executable, "-c", owner]) as process:
        pid = pid_in(written)
        process.kill()
    wait_for(lambda: is_gone(pid))


@LINUX_ONLY
def test_command_ends_when_its_leash_is_killed(tmp_path: Path) -> None:
    written = tmp_path / "pid"
    command = f"import os, time; open({str(written)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    with subprocess.Popen(leashed([*PYTHON, command])) as process:
        pid = pid_in(written)
        process.kill()
    wait_for(lambda: is_gone(pid))
