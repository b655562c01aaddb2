"""The Locks page in Airflow's menu, and a tab of it on DAGs, runs, tasks and task instances.

Airflow imports this module in every process, each task included. So the app, and FastAPI with it, is made only where
it is asked for: in the api-server. There is no listener here, and must not be: in Airflow 3.3.2 any listener turns
DAGs that use ``end_from_trigger`` into import errors.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

# Not through compat.py, which loads a good part of the SDK: see above.
from airflow.sdk.plugins_manager import AirflowPlugin

PREFIX = "/lockprovider"
"""Where the app is mounted, below the path of ``[api] base_url``."""

# What Airflow fills in, URL-encoded. {MAP_INDEX} stays as it is for a task that is not mapped.
_TABS = {
    "dag": "?dag_id={DAG_ID}",
    "dag_run": "?dag_id={DAG_ID}&run_id={RUN_ID}",
    "task": "?dag_id={DAG_ID}&task_id={TASK_ID}",
    "task_instance": "?dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}",
}


class LocksPage(AirflowPlugin):
    """By entry point only: declared in the provider's metadata too, Airflow would count it as a duplicate."""

    name = "lockprovider"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The page and its API."""
        from airflow_lockprovider.web.app import build_app

        return [{"app": build_app(), "url_prefix": PREFIX, "name": "Locks"}]

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The entry in the menu, and the tabs. Airflow shows each in an iframe, and prefixes no address."""
        return [
            {
                "name": "Locks",
                "href": _address(""),
                "destination": "nav",
                "url_route": "locks",
                "nav_top_level": True,
                **_icons(),
            },
            *(
                {
                    "name": "Locks",
                    "href": _address(query),
                    "destination": destination,
                    "url_route": f"locks-{destination.replace('_', '-')}",
                    **_icons(),
                }
                for destination, query in _TABS.items()
            ),
            {
                "name": "Run only this",
                "href": _address("run-alone?dag_id={DAG_ID}&task_id={TASK_ID}"),
                "destination": "task",
                "url_route": "run-alone",
                **_icons(),
            },
        ]


def _address(rest: str) -> str:
    from urllib.parse import urlsplit

    from airflow.sdk.configuration import conf

    prefix = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{prefix}{PREFIX}/{rest}"


def _icons() -> dict[str, str]:
    return {"icon": _address("static/lock.svg"), "icon_dark_mode": _address("static/lock-dark.svg")}
