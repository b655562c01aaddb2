"""Airflow's REST API, as far as a demo or a live test needs it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

FINISHED = frozenset({"success", "failed"})
_NO_PROXY = urllib.request.ProxyHandler({})


class AirflowApiError(RuntimeError):
    """Airflow refused a request; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AirflowClient:
    """Asks an api-server at `url` as `user`. An unreachable server is an OSError, a refusal an AirflowApiError."""

    def __init__(self, url: str, user: str, password: str, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"username": user, "password": password}
        self._timeout = timeout
        self._token: str | None = None
        self._opener = urllib.request.build_opener(_NO_PROXY)

    # -- the parts and the Dags

    def health(self) -> dict[str, str | None]:
        """Part of Airflow → "healthy", "unhealthy" or None. Needs no login."""
        parts = self._call("GET", "/api/v2/monitor/health", {}, None, token=None)
        return {name: part["status"] for name, part in parts.items()}

    def import_errors(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v2/importErrors")["import_errors"]
        return found

    def dag_ids(self) -> list[str]:
        return [dag["dag_id"] for dag in self.get("/api/v2/dags", limit=1000)["dags"]]

    def set_paused(self, dag_id: str, paused: bool) -> None:
        self.request("PATCH", f"/api/v2/dags/{quote(dag_id, safe='')}", body={"is_paused": paused})

    # -- runs

    def trigger(
        self, dag_id: str, *, run_id: str | None = None, conf: Mapping[str, Any] | None = None, note: str | None = None
    ) -> str:
        """Starts a run of its own (no logical date); its run id."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf or {}), "note": note}
        run = self.request(
            "POST",
            f"{_dag(dag_id)}/dagRuns",
            body={k: v for k, v in body.items() if v is not None or k == "logical_date"},
        )
        started: str = run["dag_run_id"]
        return started

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(_run(dag_id, run_id))
        return found

    def runs(self, dag_id: str = "~") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"{_dag(dag_id)}/dagRuns", limit=1000)["dag_runs"]
        return found

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, mapped ones too, with state, try_number, start_date and so on."""
        found: list[dict[str, Any]] = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=1000)["task_instances"]
        return found

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        return {each["task_id"]: each["state"] for each in self.task_instances(dag_id, run_id)}

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """What that try has logged so far, one event per line."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content="true")["content"]
        return "\n".join(line if isinstance(line, str) else _log_line(line) for line in content)

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Lets exactly these tasks of the run go again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "only_failed": False}
        self.request("POST", f"{_dag(dag_id)}/clearTaskInstances", body=body)

    # -- any other address

    def get(self, path: str, **parameters: Any) -> Any:
        return self.request("GET", path, parameters=parameters)

    def request(self, method: str, path: str, *, parameters: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The decoded JSON answer. A token that is no longer good is fetched anew, once."""
        fresh = self._token is None
        token = self._token or self._log_in()
        try:
            return self._call(method, path, parameters or {}, body, token)
        except AirflowApiError as error:
            if error.status != 401 or fresh:
                raise
        return self._call(method, path, parameters or {}, body, self._log_in())

    def _log_in(self) -> str:
        token: str = self._call("POST", "/auth/token", {}, self._credentials, token=None)["access_token"]
        self._token = token
        return token

    def _call(self, method: str, path: str, parameters: Mapping[str, Any], body: Any, token: str | None) -> Any:
        request = urllib.request.Request(
            self.url + path + (f"?{urlencode(parameters)}" if parameters else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Accept": "application/json", "Content-Type": "application/json"},
        )
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")[:1000]
            raise AirflowApiError(f"{method} {path}: {error.code} {error.reason}: {said}", error.code) from None
        return json.loads(content) if content else None


def _dag(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='~')}"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_dag(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _log_line(event: Mapping[str, Any]) -> str:
    extras = {k: v for k, v in event.items() if k not in ("timestamp", "level", "event", "logger")}
    words = [event.get("timestamp"), event.get("level"), event.get("event"), extras or None]
    return " ".join(str(word) for word in words if word)
