"""python -m airflow_lockprovider.shell is the command `lockprovider`."""

from __future__ import annotations

import sys

from airflow_lockprovider.shell.main import main

if __name__ == "__main__":
    sys.exit(main())
