"""What is wrong with which partitions, as a verdict and in words."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_lockprovider.readiness.verdict import Status, Verdict

Fault = tuple[str, str]
"""Name of the partition, and what it lacks."""
_TOLD = 3
"""So many faults are told in the reason; the others are counted."""
_SAMPLE = 10
"""So many names are in ``missing_sample``."""


def verdict_on(
    status: Status, faults: Sequence[Fault], *, expected: int, arrived: int, about: str, otherwise: str, requests: int
) -> Verdict:
    """The verdict. Its reason names the first faults of ``about``, or is ``otherwise`` if there are none."""
    more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
    said = "; ".join(f"{name} {fault}" for name, fault in faults[:_TOLD]) + more
    return Verdict(
        status,
        expected=expected,
        arrived=arrived,
        missing_sample=tuple(name for name, _ in faults[:_SAMPLE]),
        reason=f"{about}: {said}" if said else otherwise,
        requests=requests,
    )
