"""Keeps the scope's lease while a member of the scope is deferred by itself."""

from __future__ import annotations

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.triggers.keeping import KeepLeaseTrigger


class KeepScopesLeaseTrigger(KeepLeaseTrigger):
    """Renews and watches a lease that belongs to a scope: whatever happens to this task, the scope gives it back.

    If the scope has given it back under a deferred member, that is a loss: the member's work must not go on.
    """

    def _release(self, hook: LeaseHook) -> None:
        pass

    def _was_given_back(self, hook: LeaseHook, lock_name: str) -> bool:
        return False
