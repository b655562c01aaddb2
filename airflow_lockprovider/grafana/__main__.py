"""``python -m airflow_lockprovider.grafana``: print the dashboard, for Grafana's import page or for provisioning."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from airflow_lockprovider.grafana.dashboard import dashboard
from airflow_lockprovider.lease.errors import ConfigurationError


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints JSON; exit code 2 if the schema's name is none."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_lockprovider.grafana",
        description="Print the Grafana dashboard of the locks: import it, or put it where Grafana provisions from.",
    )
    parser.add_argument("--schema", default="lockprovider", help="schema of the lock tables (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        model = dashboard(chosen.schema)
    except ConfigurationError as error:
        parser.error(str(error))
    json.dump(model, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
