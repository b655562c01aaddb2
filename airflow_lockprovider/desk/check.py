"""``check``: what is wrong with the locks now, as lines for people or rows for programs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_lockprovider.desk.verbs import Desk, Found
from airflow_lockprovider.desk.watch import Problem, Thresholds
from airflow_lockprovider.desk.watching import Round, TaskStates, watch
from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.errors import ConfigurationError

COLUMNS = ("lock", "problem", "owner", "text")
_NEVER = "never"


def check(
    args: Namespace,
    desk: Desk,
    thresholds: Thresholds,
    states: TaskStates | None = None,
    tell: Callable[[Round], object] | None = None,
) -> None:
    """Print what is wrong. Raises Found if anything is, after it is printed (and told)."""
    seen = watch(
        desk.engine,
        _given(args, thresholds),
        name=args.lock,
        states=states,
        clean_up=args.clean_up,
    )
    if tell is not None:
        tell(seen)
    for_people = args.output in ("table", "plain")
    if seen.problems or not for_people:
        desk.show([problem_row(problem, desk.program) for problem in seen.problems], args.output, COLUMNS)
    if for_people:
        _say(seen, desk.program, args.output)
    if seen.problems:
        raise Found


def problem_row(problem: Problem, program: str) -> dict[str, Any]:
    """A problem, as it is shown."""
    return {
        "lock": problem.lock_name,
        "problem": problem.kind,
        "owner": problem.owner,
        "for": problem.seconds,
        "text": problem.text,
        "todo": problem.todo.format(program=program),
        "detail": dict(problem.detail),
    }


def _say(seen: Round, program: str, output: str) -> None:
    if not seen.problems:
        print(f"nothing is wrong: {len(seen.leases)} leases, {len(seen.waiters)} waiting")
    elif output == "table":
        print()
        for problem in seen.problems:
            print(f"{problem.lock_name}, {problem.kind}: {problem.todo.format(program=program)}")


def _given(args: Namespace, thresholds: Thresholds) -> Thresholds:
    """The thresholds, with what was said on the command line."""
    if args.held is not None:
        thresholds = replace(thresholds, held=_limit(args.held, "--held"))
    if args.waiting is not None:
        thresholds = replace(thresholds, waiting=_limit(args.waiting, "--waiting"))
    if args.queue is not None:
        thresholds = replace(thresholds, queue=_number(args.queue))
    if args.growth is not None:
        thresholds = replace(thresholds, growth=_limit(args.growth, "--growth"))
    return thresholds


def _limit(text: str, option: str) -> float | None:
    return None if text == _NEVER else seconds(text, setting=option)


def _number(text: str) -> int | None:
    if text != _NEVER and (not text.isdecimal() or int(text) < 1):
        raise ConfigurationError(f"--queue={text!r} must be a whole number above zero, or {_NEVER!r}")
    return None if text == _NEVER else int(text)
