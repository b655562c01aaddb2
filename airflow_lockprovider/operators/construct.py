"""How a locked class makes its tasks: as the operator does, and then their lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_lockprovider.operators.default_lock import NO_DEFAULT, default_lock

_MISSING: Any = object()


def constructor(base: Any) -> Callable[..., None]:
    """An ``__init__`` that takes ``lock`` and leaves all the rest to the one of the operator class ``base``.

    Airflow puts a look at ``default_args`` and params around every ``__init__`` in an operator's ancestry. This does
    without, and looks at ``default_args`` for the lock alone: one more would be a fifth of what a task costs to make.
    """
    make = base.__init__

    def __init__(self: Any, *, lock: Any = _MISSING, **kwargs: Any) -> None:
        make(self, **kwargs)
        if lock is _MISSING:
            given = kwargs.get("default_args") or {}
            lock = given["lock"] if "lock" in given else default_lock(self)
        if lock is NO_DEFAULT:
            if not self._lock_named_after_task:
                raise TypeError("missing keyword argument 'lock'")
            lock = {}
        self._declare_lock(lock)
        self._BaseOperator__init_kwargs["lock"] = lock

    init: Any = __init__
    init.__wrapped__ = make.__wrapped__  # by this Airflow knows which __init__ is the outermost
    init._BaseOperatorMeta__param_names = {"lock"}  # by these, what can be mapped
    init._BaseOperatorMeta__non_optional_args = set()
    return __init__
