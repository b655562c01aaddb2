from __future__ import annotations

from tests.conformance.conftest import dialect, engine, installed

__all__ = ["dialect", "engine", "installed"]
