"""What people have been told of which trouble: the calls of functions_alerts.sql.

Under a mutex of their own, so that a storm of failures holds up no lock, and no lock an alert.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from airflow_lockprovider.lease.errors import ConfigurationError, StoreError
from airflow_lockprovider.lease.redshift.answer import utc
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.session import Row, Session
from airflow_lockprovider.lease.redshift.transaction import naive
from airflow_lockprovider.lease.redshift.trouble import Trouble, is_missed

_LIMIT = 500
_REMEMBERED = timedelta(days=7)


def alert_seen(
    desk: Desk,
    *,
    alert_key: str,
    title: str,
    part: str | None,
    occurrence: str | None,
    pauses: Sequence[float],
    at: datetime | None,
) -> list[Row]:
    """Count one failure; whether people must be told of it, and what they knew before. One row always."""
    if not 1 <= len(alert_key) <= _LIMIT:
        raise ConfigurationError(f'alert key "{alert_key[:40]}" must have 1 to {_LIMIT} characters')
    session = desk.session

    def counted() -> list[Row]:
        known = session.run("alert_occurrence", alert_key=alert_key, occurrence=occurrence)
        return [{"should_tell": False, **_facts(one)} for one in _troubles(session, [alert_key])] if known else []

    def count() -> list[Row]:
        # Once more: it may have been counted since the look.
        if occurrence is not None and (before := counted()):
            return before
        now = _now(session, at)
        there = _troubles(session, [alert_key])
        trouble = there[0] if there else Trouble.new(alert_key, title, now)
        should_tell = trouble.fails(title, now)
        row = {"should_tell": should_tell, **_facts(trouble)}
        if should_tell:
            trouble.tell(pauses, now)
            session.run("forget_alert_occurrences", before=now - _REMEMBERED)
        if occurrence is not None:
            about = {"alert_key": alert_key, "occurrence": occurrence, "part": part or ""}
            session.run("new_alert_occurrence", **about, seen_at=now)
        session.run("alert" if there else "new_alert", **asdict(trouble))
        return [row]

    # A commit is costly, so who tells of a counted failure once more gets the answer without one.
    return (counted() if occurrence is not None else []) or _alone(desk, count)


def alert_quiet(desk: Desk, *, alert_key: str, at: datetime | None) -> list[Row]:
    """The trouble, if people know of it and their pause is not over."""
    now = _now(desk.session, at)
    return [_facts(trouble) for trouble in _troubles(desk.session, [alert_key]) if trouble.quiet(now)]


def alert_over(desk: Desk, *, alert_keys: Sequence[str], part: str | None, at: datetime | None) -> list[Row]:
    """This part of these troubles works again (None: all of it). What is over with it and must be told."""
    session, keys = desk.session, sorted(set(alert_keys))

    def end() -> list[Row]:
        now = _now(session, at)
        rows = []
        for trouble in (one for one in _troubles(session, keys) if one.is_open):
            broken = session.run("alert_parts", alert_key=trouble.alert_key)
            works = [row["part"] for row in broken if part in (None, row["part"])]
            if works:
                session.run("alert_parts_work", alert_key=trouble.alert_key, parts=works)
            if any(is_missed(naive(row["seen_at"]), now) for row in broken if row["part"] not in works):
                continue
            facts = _facts(trouble)
            if trouble.works():
                rows.append({**facts, "told_at": None})  # as on Postgres: news of an end does not say it
            session.run("alert", **asdict(trouble))
        return rows

    # Every success asks, and hardly any has something to end.
    return _alone(desk, end) if any(one.is_open for one in _troubles(session, keys)) else []


def alert_untold(
    desk: Desk,
    *,
    alert_key: str,
    recovered: bool,
    told_occurrences: int,
    told_at: datetime | None,
    at: datetime | None,
) -> list[Row]:
    """Nobody could be told: people know what they knew before."""
    session = desk.session

    def undo() -> list[Row]:
        now = _now(session, at)
        for trouble in _troubles(session, [alert_key]):
            if recovered and not trouble.end_unreached():
                continue
            if not recovered:
                trouble.unreached(told_occurrences, None if told_at is None else naive(told_at), now)
            session.run("alert", **asdict(trouble))
            return [{"alert_untold": True}]
        return [{"alert_untold": False}]

    return _alone(desk, undo)


def alerts_due(desk: Desk, *, prefix: str, pauses: Sequence[float], at: datetime | None) -> list[Row]:
    """Troubles that have grown since their last message, and whose pause is over: claimed, the caller must tell."""
    session = desk.session

    def due() -> tuple[list[Trouble], datetime]:
        now = _now(session, at)
        there = [one for one in _open(session, prefix) if one.grown(now)]
        return sorted(there, key=lambda one: (one.due_at, one.alert_key)), now

    def claim() -> list[Row]:
        troubles, now = due()
        rows = []
        for trouble in troubles:
            rows.append(_facts(trouble))
            trouble.tell(pauses, now)
            session.run("alert", **asdict(trouble))
        return rows

    return _alone(desk, claim) if due()[0] else []


def alerts_open(desk: Desk, *, prefix: str) -> list[Row]:
    """Keys of the troubles that are not over."""
    return [{"alert_key": key} for key in sorted(one.alert_key for one in _open(desk.session, prefix))]


def _alone(desk: Desk, work: Callable[[], list[Row]]) -> list[Row]:
    return desk.alone(work, mutex="lock_alert_mutex")


def _now(session: Session, at: datetime | None) -> datetime:
    return naive(session.run("alert_now")[0]["now"] if at is None else at)


def _troubles(session: Session, alert_keys: Sequence[str]) -> list[Trouble]:
    return _read(session, session.run("alerts_of", alert_keys=alert_keys))


def _open(session: Session, prefix: str) -> list[Trouble]:
    # Few troubles are open at once: they are chosen here, where a prefix is no pattern.
    return [one for one in _read(session, session.run("alerts_that_are_open")) if one.alert_key.startswith(prefix)]


def _read(session: Session, rows: list[Row]) -> list[Trouble]:
    for row in rows:
        row.update({name: naive(row[name]) for name in ("first_seen", "last_seen", "due_at")})
        row["told_at"] = None if row["told_at"] is None else naive(row["told_at"])
    keys = sorted(row["alert_key"] for row in rows)
    if len(set(keys)) != len(keys):
        raise StoreError(
            f"table {session.sql.schema}.alert has a row twice ({keys}): something wrote it without LOCK alert_mutex. "
            "Every failure is told until a person has repaired it"
        )
    return sorted((Trouble(**row) for row in rows), key=lambda one: one.alert_key)


def _facts(trouble: Trouble) -> Row:
    names = ("alert_key", "title", "occurrences", "told", "told_occurrences")
    times = {name: utc(getattr(trouble, name)) for name in ("first_seen", "told_at")}
    return {**{name: getattr(trouble, name) for name in names}, **times}
