"""``python -m airflow_lockprovider.demo``: the main job in real Airflow, on embedded parts, with a report."""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import sys
from pathlib import Path

from airflow_lockprovider.demo.console import Console


def main() -> int:
    """Returns the exit code: 0 only if everything that was to be proved holds."""
    parser = argparse.ArgumentParser(prog="python -m airflow_lockprovider.demo", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="stay after the report, with the UI, until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where all of it lives (default: .demo)")
    arguments = parser.parse_args()
    console = Console()
    console.say("demo", "a locked S3 -> Glue -> Spark -> Redshift flow in real Airflow; about two minutes")
    dags = Path("dags").resolve()
    if not (dags / "node_b_first.py").exists():
        print(f"error: there are no example DAGs in {dags}: start the demo in the project's folder", file=sys.stderr)
        return 2
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    claim = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print(f"error: another demo is running in {folder}: end it first, or say --folder", file=sys.stderr)
        return 2
    try:
        return _run(folder, dags, console, stay=arguments.stay)
    finally:
        os.close(claim)


def _run(folder: Path, dags: Path, console: Console, *, stay: bool) -> int:
    # Here, for these take seconds to import, and people should see something at once.
    from airflow_lockprovider.demo.airflow_services import AirflowNotReadyError
    from airflow_lockprovider.demo.narrator import RunsTakeTooLongError
    from airflow_lockprovider.demo.play import play
    from airflow_lockprovider.demo.stage import Stage, empty
    from airflow_lockprovider.demo.supervisor import ProcessEndedError, Supervisor

    empty(folder)
    try:
        with Supervisor(folder / "logs") as supervisor:
            try:
                stage = Stage(folder, dags, supervisor, console)
                report = play(stage, console)
                report.write(folder / "report.json")
                console.show(f"\nWhat was proved, from the databases:\n{report.text()}")
                console.show(f"  as JSON: {_shown(folder / 'report.json')}, logs: {_shown(folder / 'logs')}\n")
                if stay:
                    environment = shlex.quote(_shown(stage.environment_file))
                    console.show(
                        f"Airflow stays at {stage.airflow.url}\n"
                        f"  log in as {stage.airflow.user} with the password {stage.airflow.password}\n"
                        f"  who holds which lock, who waits and why: {stage.airflow.url}/plugin/locks\n"
                        f"  in another terminal: . {environment}; airflow locks history\n"
                        "  Ctrl-C ends it"
                    )
                    supervisor.wait()
            finally:
                console.say("demo", "stopping everything")
        return 0 if report.holds else 1
    except KeyboardInterrupt:
        return 0 if stay else 128 + signal.SIGINT
    except (ProcessEndedError, AirflowNotReadyError, RunsTakeTooLongError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


if __name__ == "__main__":
    sys.exit(main())
