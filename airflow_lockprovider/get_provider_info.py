"""What Airflow asks every provider: data only, read in every process."""

from __future__ import annotations

from typing import Any

_NAME = "Lock provider"


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-lockprovider",
        "name": _NAME,
        "description": "Leases in the data warehouse: shared steps never run twice at once, "
        "and a late owner's write is refused.",
        "versions": ["0.1.0"],
        "integrations": [
            {
                "integration-name": _NAME,
                "tags": ["service"],
            }
        ],
        "operators": _modules(
            "operators.door",
            "operators.locked",
            "operators.scope",
            "operators.s3_write_manifest",
            "transfers.s3_batch_replication",
        ),
        "sensors": _modules(
            "sensors.s3_replication",
            "sensors.s3_manifest",
            "sensors.glue_crawl",
            "sensors.glue_partition",
            "sensors.glue_job_run",
            "sensors.redshift_external_data",
        ),
        "hooks": _modules("hooks.lease"),
        "triggers": _modules("triggers.waiting", "triggers.keeping", "triggers.scope", "triggers.readiness"),
        "notifications": [
            "airflow_lockprovider.notifications.AlertNotifier",
            "airflow_lockprovider.notifications.EventBridgeNotifier",
            "airflow_lockprovider.notifications.FailureEmail",
        ],
        "extra-links": ["airflow_lockprovider.operators.link.LockLink"],
        "task-decorators": [
            {"name": "locked", "class-name": "airflow_lockprovider.decorators.locked.locked_task"},
        ],
        "cli": ["airflow_lockprovider.cli.definition.get_locks_cli_commands"],
        "config": {
            "lockprovider": {
                "description": "Defaults of locks and leases. Durations are seconds, or text such as ``10 mins``.",
                "options": {
                    "lease_conn_id": _option(
                        "Airflow connection (Postgres) of the database in which the locks live.",
                        default="dwh_default",
                        example="warehouse",
                    ),
                    "page_conn_ids": _option(
                        "Connections whose locks the Locks page shows, with commas between them. Empty: lease_conn_id.",
                        default="",
                        example="dwh_default,dwh_europe",
                    ),
                    "schema": _option(
                        "Schema of the lock tables in that database. ``airflow locks init`` creates it.",
                        default="lockprovider",
                        example="etl_locks",
                    ),
                    "ttl": _option(
                        "How long a lease lives without renewal. It is renewed while its owner lives, so this bounds "
                        "how long a dead owner keeps others waiting. It must outlive a restart of the triggerer.",
                        default="120",
                        example="5 mins",
                    ),
                    "renew_every": _option(
                        "Time between two renewals of a lease. Empty: a quarter of its ttl.",
                        default="",
                        example="30",
                    ),
                    "handover_ttl": _option(
                        "How long a lock stays reserved for a waiting task until a worker has started it.",
                        default="60",
                        example="2 mins",
                    ),
                    "skip_after": _option(
                        "A waiter that nobody has looked after for this long is passed over; it keeps its ticket.",
                        default="10",
                        example="30",
                    ),
                    "prune_after": _option(
                        "A waiter that nobody has looked after for this long loses its ticket.",
                        default="86400",
                        example="12 hours",
                    ),
                    "listen": _option(
                        "Let the database wake waiters up (LISTEN/NOTIFY), with polling beneath it. Say False behind a "
                        "pooler in transaction mode, where notifications do not arrive.",
                        default="True",
                        example="False",
                        type_="boolean",
                    ),
                    "standby": _option(
                        "Whether the next in line wait on a worker for the last moments, so that a lock is handed over "
                        "in milliseconds: auto (when history says that the lock is about to be free), always or never.",
                        default="auto",
                        example="never",
                    ),
                    "standby_limit": _option(
                        "How long a waiter that was called up to a worker stays there at most.",
                        default="15",
                        example="30",
                    ),
                    "rules": _option(
                        "YAML file with rules that put locks on tasks without a change to their DAGs. A relative path "
                        "starts from AIRFLOW_HOME. DAG processor and workers need the same file. Empty: no rules.",
                        default="",
                        example="/opt/airflow/lock_rules.yaml",
                    ),
                    "alerts": _option(
                        "YAML file with the channels of all alerts. A relative path starts from AIRFLOW_HOME. Every "
                        "component that alerts needs the same file. Empty: none.",
                        default="",
                        example="/opt/airflow/alerts.yaml",
                    ),
                    "alert_every_failure": _option(
                        "Alert over these channels for every failed task, whatever its DAG says. Mind that Airflow 3.3 "
                        "refuses tasks with end_from_trigger=True as soon as there is any listener.",
                        default="False",
                        example="True",
                        type_="boolean",
                    ),
                    "alert_retries": _option(
                        "With alert_every_failure: alert for failures that will be retried, too.",
                        default="False",
                        example="True",
                        type_="boolean",
                    ),
                    "watch_held": _option(
                        "The watch tells people of a lease that is held longer than this, unless its lock says "
                        "expected_hold. A duration, or never.",
                        default="1 hour",
                        example="30 mins",
                    ),
                    "watch_waiting": _option(
                        "The watch tells people when somebody waits for a lock longer than this. A duration, or never.",
                        default="1 hour",
                        example="10 mins",
                    ),
                    "watch_queue": _option(
                        "The watch tells people when more than this many wait for one lock. A number, or never.",
                        default="20",
                        example="5",
                    ),
                    "watch_growth": _option(
                        "The watch tells people when the line for one lock has grown over a time as long as this: more "
                        "requests come than it serves. A duration, or never.",
                        default="1 hour",
                        example="6 hours",
                    ),
                    "poll_interval": _option(
                        "How often waiters look at the lock. Must be below skip_after.",
                        default="1",
                        example="2",
                    ),
                },
            }
        },
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": _NAME, "python-modules": [f"airflow_lockprovider.{name}" for name in names]}]


def _option(description: str, *, default: str, example: str, type_: str = "string") -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": type_,
        "example": example,
        "default": default,
    }
