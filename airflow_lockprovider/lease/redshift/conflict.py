"""Which errors mean "somebody was quicker, try again"."""

from __future__ import annotations

import re

from airflow_lockprovider.lease.errors import LockProviderError

# Redshift says XX000 for nearly everything, so the text decides. The last ones are what Postgres says.
_CONFLICT = re.compile(
    r"\b1023\b|serializable isolation violation|conflict with concurrent transaction|could not serialize access"
    r"|deadlock detected",
    re.IGNORECASE,
)
_EXISTS = re.compile(r"already exists|duplicate key value", re.IGNORECASE)
_TIMEOUT = re.compile(r"statement timeout|cancell?ed on user|cancell?ing statement|lock timeout", re.IGNORECASE)


def is_conflict(error: LockProviderError) -> bool:
    """Whether the transaction lost against another one, so that it may simply be done again."""
    return bool(_CONFLICT.search(str(error)))


def is_timeout(error: LockProviderError) -> bool:
    """Whether a statement waited longer than statement_timeout allows."""
    return bool(_TIMEOUT.search(str(error)))


def exists_already(error: LockProviderError) -> bool:
    """Whether something could not be made because it is there."""
    return bool(_EXISTS.search(str(error)))
