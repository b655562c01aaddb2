"""Mutants that no test can find, and why."""

from __future__ import annotations

_SHORTCUT = "a shortcut past statements that have the same condition"
_SWEPT = (
    "decisions come after the sweep: what is left of a reservation that is over is a row that somebody has locked at"
    " this moment, and that counts its units anyway"
)
_NEVER_BOTH = "a ticket in line has no other living lease than its reservation"
_TWICE = "it stands there twice in one statement: where the row is chosen, and where it is changed"
_ASKED_AGAIN = "asked a second time, of rows that were living a moment ago"

_EARLY = "an early end: without it the statement below finds the same, for more work"

EQUIVALENT: dict[str, str] = {
    "_wake_next: lock_name: k.lock_name = l.lock_name": _EARLY,
    "_wake_next: lock_name: l.lock_name = any (p_lock_names)": _EARLY,
    "_sweep: state: l.state not in ('held', 'reserved')": _SHORTCUT,
    "_sweep: expires_at: l.expires_at <= clock_timestamp()": _SHORTCUT,
    "_line: state: l.state = 'reserved'": _NEVER_BOTH,
    "_living: state: l.state = 'reserved'": _NEVER_BOTH,
    "_drop_partial: expires_at: l.expires_at > clock_timestamp()": _SWEPT,
    "try_acquire: expires_at: l.expires_at > clock_timestamp() #2": _ASKED_AGAIN,
    "renew: expires_at: l.expires_at > clock_timestamp()": _TWICE,
    "renew: expires_at: l.expires_at > clock_timestamp() #2": _TWICE,
    "adopt: expires_at: l.expires_at > clock_timestamp() #2": _ASKED_AGAIN,
    "clean_up: expires_at: l.expires_at <= clock_timestamp()": (
        "it would look at locks on which nothing is over as well, and find nothing to do there"
    ),
    "confirm: owner_id: l.owner_id = confirm.owner_id #2": "a ticket has one owner, and was just found under this one",
}
