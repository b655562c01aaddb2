"""Everything that `make demo` runs on: embedded Postgres, simulated AWS, a mail sink, a supervisor (extra ``demo``)."""

from __future__ import annotations
