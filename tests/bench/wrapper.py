"""What the lock costs beside the work: ``python -m tests.bench.wrapper``.

Bare and locked are measured by turns in forked processes, as Airflow makes a process for every task and every DAG file.
Compare the two of one run, not digits of two.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import connect
from tests import conftest  # noqa: F401  # sets Airflow up, before it is imported

TARGETS = {"task": 0.100, "parse": 1.15, "import": 0.050}

_HEAD = "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.bash import BashOperator\n"
_NOTHING = _HEAD + (
    "from airflow.providers.standard.operators.python import PythonOperator\n\n\ndef nothing():\n    pass\n\n\n"
)
_BARE_TASK = _NOTHING + 'with DAG("d", schedule=None):\n    PythonOperator(task_id="t", python_callable=nothing)\n'
_LOCKED_TASK = (
    _NOTHING + "from airflow_lockprovider import LockedOperator\n"
    'with DAG("d", schedule=None):\n'
    '    LockedOperator(task_id="t", operator=PythonOperator, lock="bench", python_callable=nothing)\n'
)
_BARE_FILE = _HEAD + (
    'with DAG("d", schedule=None):\n'
    "    for number in range({tasks}):\n"
    '        BashOperator(task_id=f"t{{number}}", bash_command="true")\n'
)
_LOCKED_FILE = _HEAD + (
    "from airflow_lockprovider import LockedOperator\n"
    'with DAG("d", schedule=None):\n'
    "    for number in range({tasks}):\n"
    '        LockedOperator(task_id=f"t{{number}}", operator=BashOperator, lock="bench", bash_command="true")\n'
)
_RULE = "rules:\n  - match: {dag: d}\n    lock: bench\n"


def measure(*, rounds: int = 15, tasks: int = 1000) -> dict[str, Any]:
    """All figures; times in seconds, medians of ``rounds``."""
    # What a worker has loaded before it forks: the task's process is a child of the supervisor.
    import airflow.dag_processing.dagbag
    import airflow.sdk.execution_time.supervisor
    import airflow.sdk.execution_time.task_runner  # noqa: F401

    with tempfile.TemporaryDirectory() as name, EmbeddedPostgres(Path(name) / "postgres", durable=True) as postgres:
        folder = Path(name)
        os.environ["AIRFLOW_CONN_DWH_DEFAULT"] = postgres.create_database("bench_wrapper")
        connect(os.environ["AIRFLOW_CONN_DWH_DEFAULT"]).init_schema()
        (folder / "rules.yaml").write_text(_RULE, encoding="utf-8")
        gc.collect()
        gc.freeze()  # as LocalExecutor and DAG processor do before they fork
        report = {
            "task": _by_turns(
                rounds,
                bare=lambda: _run_task(_file(folder, "bare_task", _BARE_TASK)),
                locked=lambda: _run_task(_file(folder, "locked_task", _LOCKED_TASK)),
            ),
            "parse": _by_turns(
                max(rounds // 2, 1),
                bare=lambda: _parse(_file(folder, "bare", _BARE_FILE.format(tasks=tasks))),
                locked=lambda: _parse(_file(folder, "locked", _LOCKED_FILE.format(tasks=tasks))),
                by_rule=lambda: _parse(_file(folder, "bare", _BARE_FILE.format(tasks=tasks)), folder / "rules.yaml"),
            ),
            "parse again": _by_turns(
                max(rounds // 2, 1),
                bare=lambda: _parse(_file(folder, "bare", _BARE_FILE.format(tasks=tasks)), warm=True),
                locked=lambda: _parse(_file(folder, "locked", _LOCKED_FILE.format(tasks=tasks)), warm=True),
            ),
            "import": imports(max(rounds // 2, 1)),
        }
    gc.unfreeze()
    del os.environ["AIRFLOW_CONN_DWH_DEFAULT"]
    return {
        **report,
        "task: locked - bare": report["task"]["locked"] - report["task"]["bare"],
        "parse: locked / bare": report["parse"]["locked"] / report["parse"]["bare"],
        "parse again: locked / bare": report["parse again"]["locked"] / report["parse again"]["bare"],
        "parse: by rule / bare": report["parse"]["by_rule"] / report["parse"]["bare"],
        "import: added": report["import"]["airflow_lockprovider"],
        "tasks in the file": tasks,
    }


def imports(rounds: int) -> dict[str, float]:
    """What this package adds to ``import airflow.sdk``, and what its operator adds to that."""
    return _by_turns(rounds, airflow_lockprovider=_our_share, LockedOperator=_import_operator)


def _our_share() -> float:
    """Airflow itself loads the package, for its policy, while ``airflow.sdk`` is imported: so in a stand-in's place."""
    code = (
        "import sys, time, types, pluggy;"
        "sys.modules['airflow'] = types.ModuleType('airflow');"
        "sys.modules['airflow.policies'] = policies = types.ModuleType('airflow.policies');"
        "policies.hookimpl = pluggy.HookimplMarker('airflow.policy');"
        "s = time.perf_counter(); import airflow_lockprovider.policies.cluster; print(time.perf_counter() - s)"
    )
    return _told(code)


def _import_operator() -> float:
    code = (
        "import time, airflow.sdk; s = time.perf_counter();"
        "from airflow_lockprovider import LockedOperator; print(time.perf_counter() - s)"
    )
    return _told(code)


def _told(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def table(report: dict[str, Any]) -> str:
    """The report for people, with the targets."""
    task, parse, added = report["task"], report["parse"], report["import"]
    ms = 1000
    lines = [
        f"a task that does nothing, with the parsing of its file: bare {task['bare'] * ms:.0f} ms",
        f"  locked {task['locked'] * ms:.0f} ms: +{report['task: locked - bare'] * ms:.0f} ms",
        f"  aim: ≤ +{TARGETS['task'] * ms:.0f} ms",
        f"parsing a file of {report['tasks in the file']} tasks: bare {parse['bare']:.3f} s",
        f"  locked {parse['locked']:.3f} s: {report['parse: locked / bare']:.2f} ×, aim ≤ {TARGETS['parse']} ×",
        f"  without the imports: {report['parse again: locked / bare']:.2f} ×",
        f"  by rule {parse['by_rule']:.3f} s: {report['parse: by rule / bare']:.2f} ×",
        f"import airflow.sdk with this package: +{added['airflow_lockprovider'] * ms:.1f} ms",
        f"  aim: ≤ +{TARGETS['import'] * ms:.0f} ms",
        f"  LockedOperator from it: +{added['LockedOperator'] * ms:.0f} ms",
    ]
    return "\n".join(lines)


def _by_turns(rounds: int, **measured: Callable[[], float]) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(rounds):
        for name, once in measured.items():
            seen[name].append(once())
    return {name: statistics.median(values) for name, values in seen.items()}


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    return path


def _bag(path: Path) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=path, bundle_path=path.parent, bundle_name="dags-folder", safe_mode=False)
    assert not bag.import_errors, bag.import_errors
    return bag


def _parse(path: Path, rules: Path | None = None, *, warm: bool = False) -> float:
    def once() -> float:
        if rules:
            os.environ["AIRFLOW__LOCKPROVIDER__RULES"] = str(rules)
        if warm:  # all is imported already
            _bag(path)
        started = time.perf_counter()
        dag = _bag(path).dags["d"]
        spent = time.perf_counter() - started
        assert hasattr(dag.tasks[0], "lock_name") == (rules is not None or path.stem == "locked")
        return spent

    return _in_a_fork(once)


def _run_task(path: Path) -> float:
    def once() -> float:
        from airflow.sdk.execution_time import task_runner

        from tests.integration.locked.conftest import Comms, _run

        task_runner.SUPERVISOR_COMMS = comms = Comms()  # type: ignore[assignment]
        started = time.perf_counter()
        outcome = _run(_bag(path).dags["d"].get_task("t"), comms)
        spent = time.perf_counter() - started
        assert outcome.state == "success", outcome.error
        return spent

    return _in_a_fork(once)


def _in_a_fork(once: Callable[[], float]) -> float:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.write(writing, repr(once()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        answer = told.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("a measured process failed, see above")
    return float(answer)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.wrapper", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=Path(".bench/wrapper.json"))
    given = parser.parse_args()
    report = measure(rounds=given.rounds, tasks=given.tasks)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
