"""Does with a query what Grafana does before it sends it: fills in variables, then expands the macros of its Postgres
data source. Written after Grafana's documentation; Grafana itself is not on this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MACRO = re.compile(r"\$(__\w+)\(([^)]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True)
class Looking:
    """How somebody looks at the dashboard: the time range, the length of a step, the chosen variables."""

    until: datetime
    back: timedelta = timedelta(hours=24)
    step: timedelta = timedelta(minutes=5)
    schema: str = "lockprovider"
    locks: Sequence[str] = ()  # none: All

    def query(self, text: str) -> str:
        """The SQL that reaches the database."""
        # Grafana splits at commas only when the variables have been filled in.
        return _MACRO.sub(self._macro, _VARIABLE.sub(self._variable, text))

    def _variable(self, found: re.Match[str]) -> str:
        name = found[1] or found[2]
        seconds = int(self.step.total_seconds())
        values = {
            "schema": self.schema,
            "lock": ",".join("'" + one.replace("'", "''") + "'" for one in self.locks) or "'*'",
            "__interval": f"{seconds}s",
            "__interval_ms": str(seconds * 1000),
        }
        if name.startswith("__") and name not in values:
            return found[0]  # a macro
        return values[name]

    def _macro(self, found: re.Match[str]) -> str:
        name, arguments = found[1], [one.strip() for one in found[2].split(",")]
        if name == "__timeFilter":
            since, until = (at.astimezone(UTC).isoformat().replace("+00:00", "Z") for at in self.range)
            return f"{arguments[0]} BETWEEN '{since}' AND '{until}'"
        if name == "__timeGroupAlias":
            assert arguments[1].startswith("'")
            assert arguments[1].endswith("s'")
            seconds = int(arguments[1][1:-2])
            return f'floor(extract(epoch from {arguments[0]})/{seconds})*{seconds} AS "time"'
        raise AssertionError(f"unknown macro {name}")

    @property
    def range(self) -> tuple[datetime, datetime]:
        return self.until - self.back, self.until
