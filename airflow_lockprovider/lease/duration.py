"""Durations as people write them: 120, "10 mins", "1h 30m", "PT5M", timedelta."""

from __future__ import annotations

import re
from datetime import timedelta

from airflow_lockprovider.lease.errors import ConfigurationError

Duration = float | int | timedelta
"""Seconds, or a timedelta."""

_UNITS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_ISO = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE)


def seconds(value: Duration | str, *, setting: str) -> float:
    """Return ``value`` in seconds.

    ``setting`` names the option for the error message. Raises ConfigurationError for text that is no
    duration, and for values that are not above zero.
    """
    result = _read(value)
    if result is None:
        raise ConfigurationError(
            f'{setting}={value!r} is not a duration: give seconds (120), text ("10 mins", "1h 30m") or a timedelta'
        )
    if not 0 < result < 366 * 86400:
        raise ConfigurationError(f"{setting}={value!r} must be above zero and below a year")
    return result


def _read(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float):
        return float(min(value, 1e12))  # an int may be too large for a float
    if not isinstance(value, str) or not (text := value.strip()):
        return None
    try:
        return float(text)
    except ValueError:
        pass
    if len(text) > 1 and (iso := _ISO.fullmatch(text)):
        days, hours, minutes, secs = (float(part or 0) for part in iso.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + secs
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        unit = part[2].lower()
        factor = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if factor is None or text[end : part.start()].strip(" ,"):
            return None
        total, end = total + float(part[1]) * factor, part.end()
    return total if end and not text[end:].strip() else None
