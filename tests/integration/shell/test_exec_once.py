"""`lockprovider exec --once-key`: what has succeeded does not run again, however often it is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_lockprovider.lease import LeaseEngine
from tests.integration.shell.conftest import Shell, until


def test_a_second_start_after_a_success_does_nothing_and_says_who_did_it_and_when(shell: Shell, engine: LeaseEngine):
    words = ("exec", "load", "--once-key", "2026-11-21", "--owner", "pod-1", "--", "echo", "ran")
    assert shell(*words).stdout == "ran\n"
    done = engine.done("load", "2026-11-21")
    assert done

    again = shell(*words)

    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == (
        "lockprovider: nothing to do: '2026-11-21' under lock 'load' was done by pod-1 "
        f"at {done.done_at:%Y-%m-%d %H:%M:%S%z} (token {done.token})\n"
    )
    assert shell("exec", "load", "--once-key", "2026-11-22", "--", "echo", "ran").stdout == "ran\n"


def test_the_exit_code_of_nothing_to_do_can_be_chosen_and_the_line_left_out(shell: Shell):
    words = ("exec", "load", "--once-key", "k", "--once-exit", "3", "--quiet", "--", "echo", "ran")
    assert shell(*words).returncode == 0
    again = shell(*words)
    assert (again.returncode, again.stdout, again.stderr) == (3, "", "")


def test_a_failure_is_not_recorded_so_the_next_start_tries_again(shell: Shell, engine: LeaseEngine):
    assert shell("exec", "load", "--once-key", "k", "--", "false").returncode == 1
    assert engine.done("load", "k") is None
    assert shell("exec", "load", "--once-key", "k", "--", "echo", "ran").stdout == "ran\n"


def test_what_is_done_needs_no_lock_to_be_skipped(shell: Shell, engine: LeaseEngine):
    assert shell("exec", "load", "--once-key", "k", "--", "true").returncode == 0
    assert engine.try_acquire("load")
    assert shell("exec", "load", "--once-key", "k", "--on-busy", "fail", "--", "echo", "ran").returncode == 0


def test_who_waited_while_the_first_succeeded_does_not_run(shell: Shell, engine: LeaseEngine):
    words = ("exec", "load", "--once-key", "k", "--wait", "forever", "--")
    first = shell.start(*words, "cat")
    until(lambda: engine.leases("load"))
    second = shell.start(*words, "echo", "ran")
    until(lambda: engine.queue("load"))

    first.communicate("", timeout=20)
    out, err = second.communicate(timeout=20)

    assert (first.returncode, second.returncode, out) == (0, 0, "")
    assert "nothing to do: 'k' under lock 'load' was done by" in err
    assert engine.leases("load") == []


def test_a_late_owner_cannot_record_its_success(shell: Shell, engine: LeaseEngine):
    late = shell.start("exec", "load", "--once-key", "k", "--", "cat")
    until(lambda: engine.leases("load"))
    engine.revoke("load", by="ann", reason="stuck")

    _, err = late.communicate("", timeout=20)

    assert late.returncode == 76
    assert "the command's result does not count" in err
    assert engine.done("load", "k") is None


@pytest.mark.parametrize("wait", ["0", "forever"])
def test_of_two_starts_at_the_same_moment_only_one_runs(shell: Shell, tmp_path: Path, wait: str):
    ran = tmp_path / "ran"
    words = ("exec", "load", "--once-key", "k", "--wait", wait, "--", "sh", "-c", f"echo ran >> {ran}; sleep 0.3")
    both = [shell.start(*words) for _ in range(2)]
    codes = sorted(process.wait(30) for process in both)
    assert codes in ([0, 0], [0, 75])
    assert ran.read_text() == "ran\n"


FIFTY = """
import json, os, sys
import psycopg  # what is loaded before the forks is loaded once
from airflow_lockprovider.shell.main import main
words = sys.argv[1:]
started = []
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            code = main(words)
        finally:
            os._exit(code)
    started.append(pid)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]))
"""


def test_of_fifty_starts_at_the_same_moment_one_runs_and_nobody_fails(
    shell: Shell, engine: LeaseEngine, tmp_path: Path
):
    ran = tmp_path / "ran"
    words = ("exec", "load", "--once-key", "k", "--wait", "5m", "--", "sh", "-c", f"echo ran >> {ran}")
    told = subprocess.run(
        [sys.executable, "-c", FIFTY, *words], env=shell.environment, capture_output=True, text=True, timeout=280
    )
    assert json.loads(told.stdout) == [0] * 50, told.stderr
    assert ran.read_text() == "ran\n"
    assert told.stderr.count("nothing to do: 'k' under lock 'load' was done by") == 49
    assert engine.leases() == []
    assert engine.queue() == []
