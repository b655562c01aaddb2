"""Mutants that no test can find, and why."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
