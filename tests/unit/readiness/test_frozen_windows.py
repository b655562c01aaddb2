from __future__ import annotations

import random
from itertools import pairwise

import pytest

from airflow_lockprovider.readiness.rows import Row, Rows
from airflow_lockprovider.readiness.window import (
    MAX_STATE_CHARS,
    Window,
    digest,
    dump,
    load,
    separator,
)


def rows_of(keys: list[str]) -> Rows:
    return Rows.of(Row(key, 7, "", 0.0) for key in keys)


def windows_of(keys: list[str], size: int = 1000) -> list[Window]:
    windows: list[Window] = []
    for at in range(0, len(keys), size):
        part = keys[at : at + size]
        if windows:
            windows[-1].until = separator(windows[-1].until, part[0])
        after = windows[-1].until if windows else ""
        windows.append(Window(after, part[-1], len(part), digest(rows_of(part))))
    return windows


def irregular_keys(count: int, *, length: int = 400) -> list[str]:
    chance = random.Random(7)
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/=-_äß漢"
    return sorted({"".join(chance.choices(alphabet, k=chance.randint(length // 2, length))) for _ in range(count)})


def test_windows_survive_the_way_through_text() -> None:
    windows = windows_of(irregular_keys(5000))
    windows[2].arrived = True
    assert load(dump(windows)) == windows


def test_no_windows_survive_too() -> None:
    assert load(dump([])) == []


def test_every_key_falls_into_its_own_window() -> None:
    keys = irregular_keys(5000)
    for number, window in enumerate(windows_of(keys)):
        inside = [key for key in keys if window.after < key <= window.until]
        assert inside == keys[number * 1000 : (number + 1) * 1000]


@pytest.mark.parametrize(
    ("last", "following"),
    [
        ("a", "b"),
        ("a", "aa"),
        ("abc/1", "abc/2"),
        ("abc/1999", "abc/2000"),
        ("x/" + "9" * 50, "x/a" + "0" * 50),
        ("ä", "漢字"),
    ],
)
def test_a_separator_lies_between_its_neighbours_and_is_never_longer(last: str, following: str) -> None:
    between = separator(last, following)
    assert last <= between < following
    assert len(between) <= len(last)


def test_the_order_of_python_is_the_order_of_s3() -> None:
    keys = irregular_keys(500)
    assert all(low.encode() < high.encode() for low, high in pairwise(keys))


def test_a_million_long_irregular_keys_fit_into_the_state() -> None:
    # One key of each end of 1000 windows is all that the state can see; the keys between need not exist.
    chance = random.Random(3)
    ends = irregular_keys(2000)
    windows: list[Window] = []
    for last, following in zip(ends[0::2], [*ends[2::2], "\U0010ffff" * 9], strict=True):
        after = windows[-1].until if windows else ""
        # Written at any moment of a day, to the millisecond: S3 tells whole seconds, which are shorter.
        newest = 1_769_839_200_000 + chance.randrange(86_400_000)
        windows.append(Window(after, separator(last, following), 1000, chance.getrandbits(64), newest=newest))
    text = dump(windows)
    assert len(text) <= MAX_STATE_CHARS
    assert load(text) == windows


@pytest.mark.parametrize("arrived", [0.0, 0.5, 1.0])
def test_a_million_regular_keys_fit_into_half_of_it(arrived: float) -> None:
    chance = random.Random(4)
    windows: list[Window] = []
    for number in range(1000):
        after = windows[-1].until if windows else ""
        until = separator(f"out/part-{number:04d}999.parquet", f"out/part-{number + 1:04d}000.parquet")
        newest = 1_769_839_200_000 + 1000 * chance.randrange(900)
        there = chance.random() < arrived
        windows.append(Window(after, until, 1000, chance.getrandbits(64), arrived=there, newest=newest))
    text = dump(windows)
    assert len(text) <= MAX_STATE_CHARS / 2
    assert load(text) == windows


def test_a_set_too_large_for_the_state_is_kept_in_wider_windows() -> None:
    chance = random.Random(5)
    windows: list[Window] = []
    for number in range(10_000):
        after = windows[-1].until if windows else ""
        windows.append(Window(after, f"{number:05d}/" + chance.randbytes(20).hex(), 1000, chance.getrandbits(64)))
    text = dump(windows)
    assert len(text) <= MAX_STATE_CHARS
    wider = load(text)
    assert sum(window.count for window in wider) == 10_000_000
    assert wider[-1].until == windows[-1].until
    assert all(left.until == right.after for left, right in pairwise(wider))


def test_a_joined_window_has_the_digest_of_its_keys() -> None:
    keys = irregular_keys(400)
    assert (digest(rows_of(keys[:150])) + digest(rows_of(keys[150:]))) % 2**64 == digest(rows_of(keys))


def test_the_digest_sees_key_size_and_mark() -> None:
    row = Row("k", 1, "e", 0.0)
    others = [row._replace(key="l"), row._replace(size=2), row._replace(mark="f")]
    assert len({digest(Rows.of([each])) for each in [row, *others]}) == 4
    assert digest(Rows.of([row])) == digest(Rows.of([row._replace(modified=9.0)]))
