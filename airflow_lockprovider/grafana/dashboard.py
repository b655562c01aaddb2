"""The dashboard as it is shipped, written for one schema."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from airflow_lockprovider.lease.settings import check_schema


def dashboard(schema: str = "lockprovider") -> dict[str, Any]:
    """The dashboard's JSON model, to be imported or provisioned, for locks in ``schema``.

    Raises ConfigurationError if that is no name of a schema that the locks can have.
    """
    text = (files(__package__) / "locks.json").read_text(encoding="utf-8")
    model: dict[str, Any] = json.loads(text)
    name = check_schema(schema)
    for variable in model["templating"]["list"]:
        if variable["name"] == "schema":
            value = {"selected": True, "text": name, "value": name}
            variable |= {"query": name, "current": value, "options": [value]}
    return model
