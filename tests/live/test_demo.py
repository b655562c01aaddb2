"""``make demo`` as a person meets it: to the report, and ended in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from airflow_lockprovider.demo.ports import is_listening

from .conftest import REPOSITORY, alive_with

pytestmark = pytest.mark.live


class Demo:
    """The demo as a process, and what it has printed so far."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.mark = f"LOCKPROVIDER_TEST={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.folder = folder
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "airflow_lockprovider.demo", "--folder", str(folder), *arguments],
            cwd=REPOSITORY,
            env={**os.environ, name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.output:
            assert self.process.poll() is None, f"it ended before it said {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"it never said {text!r}:\n{self.output}"
            time.sleep(0.2)

    def end(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(90)
        self._reader.join(5)
        return code

    def left_behind(self) -> dict[str, object]:
        ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", self.output)}
        return {"processes": alive_with(self.mark), "ports": {port for port in ports if is_listening(port)}}

    def kill(self) -> None:
        for pid in (*alive_with(self.mark), self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


@pytest.fixture
def demo(tmp_path):
    started = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(tmp_path / "a demo", *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()


NOTHING = {"processes": {}, "ports": set()}


def test_the_demo_proves_what_it_promises_stays_with_its_ui_and_leaves_nothing(demo):
    running = demo("--stay")
    running.wait_for("Ctrl-C ends it", timeout=480)

    report = json.loads((running.folder / "report.json").read_text())
    assert {proof["name"]: proof["holds"] for proof in report["proofs"]} == {
        "all runs ended as planned": True,
        "Node B never overlapped": True,
        "region 2 waited for its copy": True,
        "a late owner's guarded write was refused": True,
        "a duplicate run was skipped": True,
        "the failure was told": True,
        "both warehouses equal the input": True,
    }
    assert report["holds"] is True
    (locks_page,) = re.findall(r"(http://\S+)/plugin/locks", running.output)
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{locks_page}/lockprovider/", timeout=20)
    assert refused.value.code == 401, "the page is there, for those who log in"
    assert running.left_behind()["processes"], "the parts of a demo that stays should be found"

    assert running.end() == 128 + signal.SIGTERM
    assert running.left_behind() == NOTHING


def test_a_demo_that_is_ended_while_it_starts_leaves_nothing(demo):
    running = demo()
    running.wait_for("making its metadata tables", timeout=60)
    time.sleep(2)  # it has to be in the middle of something

    assert running.end() == 128 + signal.SIGTERM
    assert running.left_behind() == NOTHING


def test_two_demos_do_not_share_a_folder(demo):
    first = demo()
    first.wait_for("starting a server of our own", timeout=60)
    second = demo()

    assert second.process.wait(60) == 2
    assert first.end() == 128 + signal.SIGTERM
