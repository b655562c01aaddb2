"""One mutant of each kind and the test that finds it: what there is time for in every test run."""

from __future__ import annotations

from tests.mutation.mutants import Mutant, mutants

SAMPLE = {
    "release: expires_at": "test_keeping.py::test_an_expired_lease_is_not_revived_though_nobody_else_came",
    "release: owner_id": "test_keeping.py::test_releasing_is_true_once_then_false",
    "still_held: token": "test_guarding.py",
    "_admit: queue place": "test_several.py::test_a_set_does_not_overtake_in_any_line",
    "_fits: capacity": "test_capacity.py::test_never_more_units_are_out_than_there_are",
    "still_held: state": "test_reservations.py::test_a_reservation_is_nobodys_right_to_write",
    "_admit: paused": "test_capacity.py::test_a_paused_lock_grants_nothing_until_it_is_resumed",
    "_living: skip_after": "test_taking.py::test_a_dead_waiter_is_passed_over_but_keeps_its_ticket",
    "still_held: row lock": "test_guarding.py",
}
"""The beginning of a mutant's name (the first that fits is taken), and the tests to ask."""


def sample() -> list[tuple[Mutant, str]]:
    """The mutants of the sample. Fails if one is not there any more."""
    found = []
    for begin, test in SAMPLE.items():
        mutant = next((one for one in mutants() if one.name.startswith(begin)), None)
        if mutant is None:
            raise LookupError(f"no mutant is called {begin!r} any more: choose another one for the sample")
        found.append((mutant, f"tests/conformance/{test}"))
    return found
