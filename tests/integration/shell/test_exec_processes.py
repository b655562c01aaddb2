"""`lockprovider exec` and its command as processes: signals, groups, sudden ends."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine
from airflow_lockprovider.shell.main import main
from tests.integration.shell.conftest import Shell, lives, signals_count, until

TRAPPING = """
import os, signal, sys, time
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), lambda number, frame: print(signal.Signals(number).name, flush=True))
print(os.getpid(), flush=True)
while True:
    time.sleep(0.05)
"""


def number(line: str) -> int:
    return int(line.strip())


def told_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return number(process.stdout.readline())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"])
def test_signals_are_passed_on_and_the_command_decides(shell: Shell, name: str):
    process = shell.start("exec", "x", "--", sys.executable, "-c", TRAPPING, name)
    pid = told_pid(process)
    process.send_signal(getattr(signal, name))
    assert process.stdout is not None
    assert process.stdout.readline().strip() == name
    assert lives(pid)
    process.send_signal(signal.SIGUSR2 if name != "SIGUSR2" else signal.SIGUSR1)
    assert process.wait(20) == 128 + (signal.SIGUSR2 if name != "SIGUSR2" else signal.SIGUSR1)


def test_signals_reach_the_whole_group_and_the_lock_is_free_after_it(shell: Shell, engine: LeaseEngine):
    process = shell.start("exec", "x", "--", "sh", "-c", "sleep 60 & echo $!; sleep 60 & echo $!; wait")
    children = [told_pid(process), told_pid(process)]
    process.terminate()
    assert process.wait(20) == 143
    assert not any(lives(child) for child in children)
    assert engine.leases() == []
    assert engine.history("x", 1)[0].event == "released"


def test_what_the_command_leaves_behind_in_its_group_is_ended_before_the_lock_is_given_back(
    shell: Shell, engine: LeaseEngine
):
    stubborn = "trap '' TERM; while :; do sleep 0.1; done"
    words = ("exec", "x", "--grace", "0.5", "--", "sh", "-c", f"sleep 60 & echo $!; ({stubborn}) & echo $!; exit 3")
    process = shell.start(*words)
    left = [told_pid(process), told_pid(process)]
    assert process.wait(20) == 3
    assert not any(lives(pid) for pid in left)
    assert engine.leases() == []


def test_a_signal_while_waiting_leaves_the_line(shell: Shell, engine: LeaseEngine):
    assert engine.try_acquire("x", owner="me")
    process = shell.start("exec", "x", "--wait", "forever", "--", "echo", "ran")
    until(lambda: engine.queue("x"))
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (143, "")
    assert err == "lockprovider: not started: ended by SIGTERM\n"
    assert engine.queue("x") == []
    assert [lease.owner for lease in engine.leases("x")] == ["me"]


def test_a_signal_between_the_grant_and_the_command_gives_the_lock_back(
    engine: LeaseEngine, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("LOCKPROVIDER_DSN", database)
    close = LeaseEngine.close

    def signalled(self: LeaseEngine) -> None:  # what comes first after the grant
        monkeypatch.setattr(LeaseEngine, "close", close)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(LeaseEngine, "close", signalled)
    assert main(["exec", "x", "--", "echo", "ran"]) == 143
    assert capfd.readouterr() == ("", "lockprovider: not started: ended by SIGTERM\n")
    assert [event.event for event in engine.history("x")] == ["released", "granted"]


def test_a_stopped_command_keeps_its_lease_and_goes_on(shell: Shell, engine: LeaseEngine):
    process = shell.start("exec", "x", "--ttl", "6s", "--", "sleep", "1")
    (before,) = until(lambda: engine.leases("x"))
    pid = until(lambda: _child_named(process.pid, "sleep"))
    process.send_signal(signal.SIGTSTP)
    until(lambda: _state(pid) == "T")
    until(lambda: engine.leases("x")[0].expires_at > before.expires_at)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err


def test_sigkill_of_lockprovider_ends_the_command_and_its_group(shell: Shell, engine: LeaseEngine):
    process = shell.start(
        "exec", "x", "--grace", "0.5", "--",
        "sh", "-c", "echo $$; trap '' TERM; sleep 60 & echo $!; wait; sleep 60",
    )  # fmt: skip

    command, grandchild = told_pid(process), told_pid(process)
    until(lambda: len(_children(process.pid)) == 2)
    process.kill()
    process.wait()
    # The kernel's doing for the command, the guardian's for its group: no lease has to end first.
    until(lambda: not lives(command) and not lives(grandchild))
    assert len(engine.leases("x")) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_the_command_ends_too_when_the_guardian_is_killed_with_us(shell: Shell):
    process = shell.start("exec", "x", "--", "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    command = told_pid(process)
    (guardian,) = until(lambda: _children(process.pid) - {command})
    os.kill(guardian, signal.SIGKILL)
    process.kill()
    until(lambda: not lives(command))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_of_the_command_runs_before_its_guardian_is_there(shell: Shell):
    siblings = "import os, pathlib; p = os.getppid(); print(pathlib.Path(f'/proc/{p}/task/{p}/children').read_text())"
    done = shell("exec", "x", "--", sys.executable, "-c", siblings)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2


def test_a_command_that_cannot_be_started_leaves_no_guardian(shell: Shell):
    process = shell.start("exec", "x", "--", "no-such-command")
    _, err = process.communicate(timeout=20)  # until nobody has its stderr any more: a guardian would
    assert process.returncode == 127
    assert "no-such-command" in err


def test_a_frozen_lockprovider_loses_its_command_before_its_lease(shell: Shell, engine: LeaseEngine):
    process = shell.start(
        "exec", "x", "--ttl", "6s", "--", "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"
    )
    command = told_pid(process)
    process.send_signal(signal.SIGSTOP)
    until(lambda: not lives(command))
    left = [lease.remaining for lease in engine.leases("x")]
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=20)
    assert left, "the command was still alive when its lease had ended"
    assert process.returncode == 76
    assert "its lease runs out; its command is stopped" in err


def test_a_lost_lease_stops_the_command_and_its_group(shell: Shell, engine: LeaseEngine):
    process = shell.start("exec", "x", "--ttl", "4s", "--", "sh", "-c", "echo $$; sleep 60 & echo $!; wait")
    pids = [told_pid(process), told_pid(process)]
    engine.revoke("x", by="ann", reason="stuck")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 76
    assert "it was revoked" in err
    assert "stopping sh: SIGTERM now, SIGKILL in" in err
    assert not any(lives(pid) for pid in pids)


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(shell: Shell, engine: LeaseEngine):
    process = shell.start(
        "exec", "x", "--ttl", "4s", "--grace", "0.5", "--",
        sys.executable, "-c", TRAPPING, "SIGTERM",
    )  # fmt: skip
    command = told_pid(process)
    engine.revoke("x", by="ann", reason="stuck")
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out.strip()) == (76, "SIGTERM")
    assert not lives(command)


def test_a_command_that_is_stopped_is_ended_all_the_same(shell: Shell, engine: LeaseEngine):
    process = shell.start("exec", "x", "--ttl", "4s", "--", "sleep", "60")
    command = until(lambda: _child_named(process.pid, "sleep"))
    os.kill(command, signal.SIGSTOP)
    engine.revoke("x", by="ann", reason="stuck")
    assert process.wait(20) == 76
    assert not lives(command)


def test_a_success_after_the_loss_does_not_count(shell: Shell, engine: LeaseEngine):
    process = shell.start("exec", "x", "--", "cat")  # renewed every 30 s: it does not know before its end
    until(lambda: engine.leases("x"))
    engine.revoke("x", by="ann", reason="stuck")
    _, err = process.communicate("", timeout=20)
    assert process.returncode == 76
    assert "was lost: it was revoked; the command's result does not count" in err


def test_a_database_that_goes_away_stops_the_command_before_the_lease_ends(
    shell: Shell, engine: LeaseEngine, sql: psycopg.Connection[tuple[object]]
):
    process = shell.start("exec", "x", "--ttl", "4s", "--", "sleep", "60")
    until(lambda: engine.leases("x"))
    # Nobody can see the lock tables any more: for a client that is as good as a server that is gone.
    sql.execute("alter schema lockprovider rename to hidden")
    assert process.wait(20) == 76
    (gone,) = sql.execute("select expires_at > clock_timestamp() from hidden.lease").fetchall()
    assert gone == (True,)
    sql.execute("alter schema hidden rename to lockprovider")


def test_as_pid_1_it_passes_signals_on_and_buries_orphans(shell: Shell):
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no rights to make a pid namespace here")
    # The orphan ends while the command runs; as PID 1 we are the one who has to bury it.
    script = (
        "sh -c 'sh -c \"sleep 0.2\" & echo orphan' ; echo ready; trap 'echo told; exit 9' TERM;"
        " while :; do sleep 0.1; done"
    )
    lockprovider = [sys.executable, "-m", "airflow_lockprovider.shell", "exec", "x", "--", "sh", "-c", script]
    process = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", *lockprovider],
        env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "orphan\n"
        assert process.stdout.readline() == "ready\n"
        (inside,) = _children(process.pid)
        until(lambda: not [pid for pid in _children(inside) if _state(pid) == "Z"])
        time.sleep(0.4)
        assert [pid for pid in _children(inside) if _state(pid) == "Z"] == []
        os.kill(inside, signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        assert out == "told\n"
        assert process.returncode == 9
    finally:
        process.kill()
        process.wait()


def test_nohup_holds_for_the_command_too(shell: Shell):
    process = shell.start(
        "exec", "x", "--", "sh", "-c", "echo $$; sleep 0.5; exit 5",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    command = told_pid(process)
    os.kill(process.pid, signal.SIGHUP)
    os.kill(command, signal.SIGHUP)
    assert process.wait(20) == 5


def test_on_a_terminal_the_keys_and_the_input_are_the_commands(shell: Shell):
    pid, terminal = pty.fork()
    if pid == 0:
        script = "trap 'echo told; exit 4' INT; read line; echo got $line; while :; do sleep 0.1; done"
        words = [sys.executable, "-m", "airflow_lockprovider.shell", "exec", "x", "--", "sh", "-c", script]
        signals_count()
        os.execve(sys.executable, words, shell.environment)
    try:
        os.write(terminal, b"hello\n")
        seen = b""
        while b"got hello" not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, b"\x03")
        while b"told" not in seen:
            seen += os.read(terminal, 1000)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    finally:
        os.close(terminal)


def test_ctrl_z_stops_both_and_fg_goes_on(shell: Shell):
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell's job: not the leader of its session, which Ctrl-Z would not stop.
        script = "echo ready; read line; echo got $line; exit 4"
        words = [sys.executable, "-m", "airflow_lockprovider.shell", "exec", "x", "--", "sh", "-c", script]
        os.execve(
            "/bin/bash",
            ["bash", "--norc", "-i"],
            {**shell.environment, "PS1": "$ ", "TERM": "dumb"} | {"JOB": " ".join(map(_quoted, words))},
        )
    try:
        seen = b""

        def read_until(text: bytes) -> None:
            nonlocal seen
            while text not in seen:
                seen += os.read(terminal, 1000)
            seen = seen.partition(text)[2]

        os.write(terminal, b'eval "$JOB"; echo ended=$?\n')
        read_until(b"\r\nready")
        os.write(terminal, b"\x1a")
        read_until(b"Stopped")
        os.write(terminal, b"fg >/dev/null\n")
        os.write(terminal, b"hello\n")
        read_until(b"got hello")
        os.write(terminal, b"exit\n")
        os.waitpid(pid, 0)
    finally:
        os.close(terminal)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _child_named(pid: int, name: str) -> int | None:
    for child in _children(pid):
        if Path(f"/proc/{child}/comm").read_text().strip() == name:
            return child
    return None


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
