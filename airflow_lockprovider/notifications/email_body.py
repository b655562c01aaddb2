"""A failure as a readable mail. Pure."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment

from airflow_lockprovider.notifications.failure import Failure


def email_subject(failure: Failure) -> str:
    """One line, for the phone."""
    return f"[Airflow] {failure.title}"


def email_body(failure: Failure, *, story: str = "") -> str:
    """HTML, with everything from outside escaped. ``story``: what happened before this failure."""
    template = resources.files(__package__).joinpath("failure.html.jinja2").read_text(encoding="utf-8")
    link = failure.log_url if failure.log_url and failure.log_url.startswith(("http://", "https://")) else None
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(template)
        .render(failure=failure, story=story, rows=_filled(failure), link=link)
    )


def text_body(failure: Failure) -> str:
    """The same in plain lines, for a chat or a phone."""
    error = f"{failure.error_type}: {failure.error}" if failure.error_type else ""
    rows = [f"{name}: {value}" for name, value in _filled(failure) if value != failure.log_url]
    return "\n".join([error, *rows] if error else rows)


def _filled(failure: Failure) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in _rows(failure) if value not in (None, "")]


def _rows(failure: Failure) -> list[tuple[str, Any]]:
    lock = failure.lock
    rows: list[tuple[str, Any]] = [
        ("DAG", failure.dag_id),
        ("run", failure.run_id),
        ("task" if failure.level == "task" else "last task", failure.task_id),
        ("map index", failure.map_index),
        ("try", failure.try_text),
        ("state", failure.state),
        ("operator", failure.operator),
        ("logical date", failure.logical_date and f"{failure.logical_date:%Y-%m-%d %H:%M:%S %Z}"),
        ("started", failure.start_date and f"{failure.start_date:%Y-%m-%d %H:%M:%S %Z}"),
        ("duration", None if failure.duration_seconds is None else f"{failure.duration_seconds:.1f} s"),
    ]
    if lock is not None:
        ended = f"{lock.ending} by {lock.ended_by}" if lock.ending and lock.ended_by else lock.ending
        rows += [
            ("lock", lock.name),
            ("token", lock.token if lock.token is not None else "none: this task did not hold the lock"),
            ("lock owner", lock.owner),
            ("lock waited for", f"{lock.waited_seconds:.1f} s" if lock.waited_seconds else None),
            ("lock held for", None if lock.held_seconds is None else f"{lock.held_seconds:.1f} s"),
            ("lease ended", f"{ended}: {lock.ended_because}" if ended and lock.ended_because else ended),
            ("held instead by", ", ".join(f"{owner} (token {token})" for owner, token in lock.held_by)),
            ("lock database", lock.problem and f"could not be asked: {lock.problem}"),
        ]
    return [*rows, ("log" if failure.level == "task" else "link", failure.log_url)]
