from __future__ import annotations

import os
import subprocess
from pathlib import Path

from airflow_lockprovider.demo.airflow_environment import airflow_environment, passwords, write_for_shell


def test_a_shell_that_reads_the_file_sees_the_same_airflow(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    given = airflow_environment(home, dags_folder=Path("dags"), metadata_dsn="postgresql://u:it's%25@h/d", port=1)
    file = tmp_path / "environment"
    write_for_shell(file, given)
    write_for_shell(file, given)  # a second time: the file is there already

    told = subprocess.run(
        ["sh", "-c", '. "$1"; env -0', "sh", str(file)], check=True, capture_output=True, text=True
    ).stdout
    seen = dict(line.split("=", 1) for line in told.split("\0") if line)
    assert {name: seen.get(name) for name in given} == given
    assert file.stat().st_mode & 0o077 == 0


def test_keys_and_passwords_are_kept_and_nobody_elses(tmp_path: Path) -> None:
    first = passwords(tmp_path)
    assert passwords(tmp_path) == first
    assert len(set(first.values())) == 2
    assert (tmp_path / "passwords.json").stat().st_mode & 0o077 == 0


def test_nothing_of_the_users_own_airflow_is_inherited(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://production")
    monkeypatch.setenv("PGHOST", "production")
    env = airflow_environment(tmp_path, dags_folder=Path("dags"), metadata_dsn="postgresql://h/d", port=1)
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"AIRFLOW_CONN_DWH_DEFAULT", "PGHOST"} & env.keys()
    assert os.environ["PGHOST"] == "production"
