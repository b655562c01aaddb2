"""``python -m airflow_lockprovider.demo.aws --port 5555``: the simulated AWS as a process of its own, until
SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import os
import signal
from threading import Event

from airflow_lockprovider.demo.aws import AwsSimulator

WAREHOUSES_VARIABLE = "LOCKPROVIDER_DEMO_WAREHOUSES"


def main() -> None:
    parser = argparse.ArgumentParser(prog="airflow_lockprovider.demo.aws", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, e.g. '{\"replication_delay\": 2.5}'")
    arguments = parser.parse_args()
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    simulator = AwsSimulator(arguments.port, _warehouses(), host=arguments.host, **arguments.settings)
    with simulator:
        print(f"simulated AWS is ready at {simulator.endpoint_url}", flush=True)
        ended.wait()


def _warehouses() -> dict[str, str]:
    text = os.environ.get(WAREHOUSES_VARIABLE) or "{}"
    try:
        warehouses: dict[str, str] = json.loads(text)
    except ValueError as error:
        raise SystemExit(f"{WAREHOUSES_VARIABLE} must be a JSON object of name → DSN: {error}") from error
    return warehouses


if __name__ == "__main__":
    main()
