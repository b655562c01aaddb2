"""Writes the file with the logins of Airflow's simple auth manager, from the environment. Run before the api-server.

The file has to be writable for Airflow, which locks it: a mounted secret would not do.
"""

from __future__ import annotations

import json
import os


def main() -> None:
    """A file that only its owner may read, where ``[core] simple_auth_manager_passwords_file`` says."""
    logins = {"admin": os.environ["ADMIN_PASSWORD"], "viewer": os.environ["VIEWER_PASSWORD"]}
    file = os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as new:
        json.dump(logins, new)


if __name__ == "__main__":
    main()
