"""A small process between an owner and a command: when the owner goes away, so does the command.

``kill -9`` gives an owner no chance to tidy up, and what a command starts may leave its process group
(Airflow's tasks do). So each command runs on a leash, which notices that its owner is gone, passes the stop
signal on, waits for the grace time, and then ends whatever is left: on Linux every descendant, as orphans are
handed to the leash.

Run as a script, with no site-packages: it is up within 20 ms and works whatever the environment says.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_OWNER_CHECK = 0.3  # seconds between two looks at the owner
LAST_WORDS = 3.0  # seconds that left-behind descendants have between SIGTERM and SIGKILL


def leashed(
    command: Sequence[str | os.PathLike[str]],
    *,
    stop_signal: int = signal.SIGTERM,
    grace: float = 30.0,
    nudge: float | None = None,
) -> list[str]:
    """`command`, wrapped so that it never outlives the calling process.

    The leash's own SIGTERM reaches the command as `stop_signal`, and a second one ends the grace time. A command
    to which a second stop signal means "do not wait any longer" gets it after `nudge` seconds. The exit code is
    that of the command, or 128 plus the number of the signal that ended it.
    """
    words = [os.fspath(word) for word in command]
    settings = [os.getpid(), int(stop_signal), grace, grace if nudge is None else nudge]
    return [sys.executable, "-I", "-S", __file__, *map(str, settings), *words]


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux only; elsewhere the process group must do
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: Sequence[str], stop_signal: int) -> int:
    leash = os.getpid()
    # Held back until the child has its own handlers: a stop must not get lost between fork and exec.
    handled = {*_STOPPING, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        return child
    try:
        for number in (*handled, signal.SIGPIPE):  # Python ignores SIGPIPE, which programs would inherit
            signal.signal(number, signal.SIG_DFL)
        os.setsid()  # a command that signals its own group must not hit its leash
        _prctl(_PR_SET_PDEATHSIG, stop_signal)  # should the leash itself be killed
        if os.getppid() != leash:
            os._exit(125)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        os.execvp(command[0], list(command))
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(127)


def descendants(ancestor: int) -> list[int]:
    """Process ids below `ancestor`, as /proc tells it; nothing where there is no /proc."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat,
            ):
                # the command's name, in brackets, may itself hold spaces and brackets
                parent = int(stat.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    to_visit = [ancestor]
    while to_visit:
        below = children.get(to_visit.pop(), [])
        found += below
        to_visit += below
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(child: int) -> tuple[bool, int | None]:
    """Collects ended processes: whether any is left, and the status of `child` if it was among them."""
    status = None
    try:
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True, status
            if pid == child:
                status = code
    except ChildProcessError:
        return False, status


def _end_the_rest(child: int) -> int | None:
    """Ends whatever still lives below us, politely first; the status of `child` if it was among them."""
    status = None
    deadline = time.monotonic() + LAST_WORDS
    number = signal.SIGTERM
    told: set[int] = set()
    while True:
        left, ended = _reap(child)
        status = ended if ended is not None else status
        if not left:
            break
        if number != signal.SIGKILL and time.monotonic() > deadline:
            number, told = signal.SIGKILL, set()
        rest = descendants(os.getpid())
        for pid in set(rest) - told:
            _signal(pid, number)
            told.add(pid)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # where /proc does not tell us about descendants
    return status


def run(owner: int, stop_signal: int, grace: float, nudge: float, command: Sequence[str]) -> int:
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake, waker = os.pipe()
    for end in (wake, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    asked: list[int] = []
    for number in _STOPPING:
        signal.signal(number, lambda received, _frame: asked.append(received))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken up

    child = _start(command, stop_signal)
    deadline: float | None = None
    nudge_at: float | None = None
    status: int | None = None
    while status is None and (deadline is None or time.monotonic() < deadline):
        if select.select([wake], [], [], _OWNER_CHECK)[0]:
            os.read(wake, 512)
        _, status = _reap(child)
        if status is None and deadline is None and (asked or os.getppid() != owner):
            deadline = time.monotonic() + grace
            nudge_at = time.monotonic() + nudge
            _signal(child, stop_signal)
        elif status is None and nudge_at is not None and time.monotonic() > nudge_at:
            nudge_at = None
            _signal(child, stop_signal)
        if len(asked) > 1:
            break
    if status is None:
        _signal(child, signal.SIGKILL)
    last = _end_the_rest(child)
    status = status if status is not None else last
    if status is None:
        return 128 + signal.SIGKILL
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    _owner, _stop_signal, _grace, _nudge, *_command = sys.argv[1:]
    sys.exit(run(int(_owner), int(_stop_signal), float(_grace), float(_nudge), _command))
