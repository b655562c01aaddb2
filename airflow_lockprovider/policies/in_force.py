"""Which rules are in force. Loads nothing else, as it is asked for every task of every DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_lockprovider import config

if TYPE_CHECKING:
    from airflow_lockprovider.policies.rule import Rule


class RulesInForce:
    """The rules of the configured file. It is read again when it has changed."""

    def __init__(self) -> None:
        self._file: tuple[Any, ...] | None = None
        self._rules: tuple[Rule, ...] = ()
        self._dag: tuple[Any, ...] | None = None

    def for_dag(self, dag: Any) -> tuple[Rule, ...]:
        """The same for all tasks of a DAG, and looked up once for them. Raises ConfigurationError for a bad file."""
        loading = (id(dag), getattr(dag, "last_loaded", None))
        if loading != self._dag:
            self._dag = None
            self._look()
            self._dag = loading
        return self._rules

    def _look(self) -> None:
        path = config.rules_file()
        if path is None:
            self._file, self._rules = None, ()
            return
        try:
            stat = path.stat()
            file: tuple[Any, ...] | None = (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            file = None  # reading it tells why
        if file is None or file != self._file:
            from airflow_lockprovider.policies.rule_file import read_rules

            self._file = None
            self._rules = read_rules(path)
            self._file = file


rules_in_force = RulesInForce()
