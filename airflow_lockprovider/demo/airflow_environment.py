"""The environment in which our Airflow processes run: one home, one set of keys, nothing of the user's own Airflow."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from airflow_lockprovider.demo.ports import LOOPBACK

ADMIN = "admin"
VIEWER = "viewer"


def airflow_environment(
    home: Path,
    *,
    dags_folder: Path,
    metadata_dsn: str,
    port: int,
    parallelism: int = 8,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Ours, plus what makes Airflow run from `home` alone. `extra` wins over all of it."""
    keys = kept_secrets(home / "keys.json", {"jwt": 64, "api": 32, "fernet": 32})
    base_url = f"http://{LOOPBACK}:{port}"
    settings = {
        "CORE__DAGS_FOLDER": str(dags_folder),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": str(parallelism),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__FERNET_KEY": keys["fernet"],
        "CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        # The full name would be asked of the DNS, which may be slow or out of reach.
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        # A login, for without one whatever page the browser has open could command this Airflow.
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin,{VIEWER}:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "DATABASE__SQL_ALCHEMY_CONN": metadata_dsn.replace("postgresql://", "postgresql+psycopg2://", 1),
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__WORKERS": "1",
        "API__BASE_URL": base_url,
        "API__SECRET_KEY": keys["api"],
        "API_AUTH__JWT_SECRET": keys["jwt"],
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # A task's supervisor often ends only at its next heartbeat, and with it the task's place on a worker.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "SCHEDULER__ENABLE_HEALTH_CHECK": "False",  # it would listen on every interface
        # New and changed files are seen soon; unchanged ones are left alone, as the cores have better things to do.
        "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_", "PG"))
    }
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": f"{LOOPBACK},localhost",
        "no_proxy": f"{LOOPBACK},localhost",
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": value.replace("%", "%%") for name, value in settings.items()},
        **(extra or {}),
    }


def write_for_shell(file: Path, environment: Mapping[str, str]) -> None:
    """What has to be exported in a shell to speak to the same Airflow; for its owner's eyes only."""
    differing = {name: value for name, value in sorted(environment.items()) if os.environ.get(name) != value}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in differing.items()]
    file.unlink(missing_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
        new.writelines(lines)


def passwords(home: Path) -> dict[str, str]:
    """Who may log in with what; made up at the first call, for Airflow finds the file and then makes up none."""
    return kept_secrets(home / "passwords.json", {ADMIN: 12, VIEWER: 12})


def kept_secrets(file: Path, sizes: Mapping[str, int]) -> dict[str, str]:
    """For each name that many random bytes as URL-safe base64, the same at every call; for its owner's eyes only."""
    kept: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if missing := [name for name in sizes if name not in kept]:
        kept |= {name: base64.urlsafe_b64encode(secrets.token_bytes(sizes[name])).decode() for name in missing}
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".new")
        scratch.unlink(missing_ok=True)
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
            json.dump(kept, new)
        scratch.rename(file)
    return kept
