"""The source of a TaskFlow function, as it is handed to another Python (``@task.virtualenv`` and its kin)."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from airflow_lockprovider.compat import remove_task_decorator


def without_lock_decorator(base: Any, function: Callable[..., Any], decorator: str) -> str:
    """The source that ``base`` gives, less our decorators: that Python does not know them.

    ``decorator`` is the name of the task's own decorator. Airflow takes it from the class, where we have put a lock
    sign behind it.
    """
    source: str = remove_task_decorator(base.get_python_source(), decorator)
    lines = source.splitlines(keepends=True)
    tree = ast.parse(textwrap.dedent(source))
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for one in node.decorator_list:
                if _is_ours(one, inspect.unwrap(function)):
                    for number in range(one.lineno, (one.end_lineno or one.lineno) + 1):
                        lines[number - 1] = ""
    return "".join(lines)


def _is_ours(decorator: ast.expr, function: Callable[..., Any]) -> bool:
    """Whether it is ``@lock(…)``, whatever it is called there, or ``@task.locked``."""
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    text = ast.unparse(name)
    if text in ("task.locked", "lock"):  # the second: imported within a function, so no global
        return True
    head, _, rest = text.partition(".")
    value = getattr(function, "__globals__", {}).get(head)
    for attribute in filter(None, rest.split(".")):
        value = getattr(value, attribute, None)
    return getattr(value, "lockprovider_decorator", False) is True
