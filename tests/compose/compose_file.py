"""docker-compose.yaml as Compose would read it: variables filled in, anchors merged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docker-compose.yaml"
EXAMPLE = REPOSITORY / ".env.example"
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:[-?])([^}]*))?\}|(\w+))")


class MissingVariable(Exception):
    """A variable without a value and without a default."""


def raw() -> dict[str, Any]:
    """As it is written."""
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def filled(environment: Mapping[str, str]) -> dict[str, Any]:
    """With these variables. Raises MissingVariable."""
    return _fill(raw(), environment)  # type: ignore[no-any-return]


def variables_of(text: str) -> dict[str, str]:
    """Name → value of the lines of a .env file."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def _fill(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(one, environment) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, environment) for one in value]
    if not isinstance(value, str):
        return value

    def insert(found: re.Match[str]) -> str:
        name = found[1] or found[4]
        if name is None:
            return "$"
        if environment.get(name):
            return environment[name]
        if found[2] == ":-":
            return found[3]
        raise MissingVariable(name)

    return _VARIABLE.sub(insert, value)
