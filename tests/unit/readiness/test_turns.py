"""How many listings are read at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_lockprovider.readiness.turns import Turns


def test_no_more_than_its_places_are_inside() -> None:
    turns, inside, most, counting = Turns(3, patience=60), 0, 0, threading.Lock()
    all_three = threading.Barrier(3)

    def work() -> None:
        nonlocal inside, most
        with turns.turn():
            with counting:
                inside += 1
                most = max(most, inside)
            all_three.wait(timeout=60)  # three are let in, or this would break
            with counting:
                inside -= 1

    with ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(work) for _ in range(12)]:
            done.result()
    assert most == 3


def test_who_has_waited_long_enough_goes_on_and_takes_nobodys_place() -> None:
    turns = Turns(1, patience=0.01)
    with turns.turn():
        with turns.turn():
            pass
        with turns.turn():
            pass
    entered = threading.Event()
    with turns.turn():
        threading.Thread(target=lambda: _enter(turns, entered)).start()
        assert entered.wait(timeout=60)


def test_an_error_gives_the_place_back() -> None:
    turns = Turns(1, patience=60)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError


def _enter(turns: Turns, entered: threading.Event) -> None:
    with turns.turn():
        entered.set()
