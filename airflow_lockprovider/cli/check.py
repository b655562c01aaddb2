"""``airflow locks check``: the watch, once, from a command line."""

from __future__ import annotations

from argparse import Namespace

from airflow_lockprovider.desk.check import check
from airflow_lockprovider.desk.verbs import Desk, Refusal
from airflow_lockprovider.desk.watching import Round
from airflow_lockprovider.hooks.task_states import task_states
from airflow_lockprovider.notifications.watch import alert, configured_thresholds


def check_locks(args: Namespace, desk: Desk) -> None:
    """Print what is wrong; with ``--alert`` tell it over the channels of ``[lockprovider] alerts``, too."""
    check(args, desk, configured_thresholds(), task_states, _tell if args.alert else None)


def _tell(seen: Round) -> None:
    from airflow_lockprovider.notifications import AlertNotifier

    notifier = AlertNotifier.configured()
    if notifier is None:
        raise Refusal("there is nobody to alert: set alerts in section lockprovider to a file with channels")
    alert(seen, notifier)
