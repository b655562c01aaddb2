"""Reads the rule file. What is wrong in it is told with the line and the key; nothing is passed over."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import yaml

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.policies.rule import FIELDS, Pattern, Rule

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


def read_rules(path: str | PathLike[str]) -> tuple[Rule, ...]:
    """The rules of a file, in its order. Raises ConfigurationError, which names file, line and key."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"rule file {path} cannot be read: {error}. Correct [lockprovider] rules, or empty it to have no rules"
        ) from error
    return _File(path).rules(text)


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.yaml = yaml.constructor.SafeConstructor()

    def rules(self, text: str) -> tuple[Rule, ...]:
        try:
            return self._rules(yaml.compose(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigurationError(f"rule file {self.path}, line {line}: no valid YAML: {error.problem}") from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"rule file {self.path}: no valid YAML: {error}") from error

    def _rules(self, root: yaml.Node | None) -> tuple[Rule, ...]:
        if root is None:
            raise ConfigurationError(f"rule file {self.path} is empty: write 'rules: []' if there are to be no rules")
        entries = self._fields(root, "", known=("rules",), needed=("rules",))
        listed = entries["rules"]
        if not isinstance(listed, yaml.SequenceNode):
            self._fail(listed, "rules", "must be a list, each entry with 'match' and 'lock'")
        return tuple(self._rule(node, f"rules[{number}]") for number, node in enumerate(listed.value))

    def _rule(self, node: yaml.Node, key: str) -> Rule:
        given = self._fields(node, key, known=("match", "except", "lock"), needed=("match", "lock"))
        exempt = given.get("except")
        return Rule(
            match=self._pattern(given["match"], f"{key}.match"),
            exempt=None if exempt is None else self._pattern(exempt, f"{key}.except"),
            locks=tuple(self._locks(given["lock"], f"{key}.lock")),
            file=str(self.path),
            line=_line(node),
        )

    def _pattern(self, node: yaml.Node, key: str) -> Pattern:
        given = self._fields(node, key, known=FIELDS)
        if not given:
            self._fail(node, key, "is empty: say what it is about, for example {dag: 'sales_*'}, or {dag: '*'}")
        return Pattern(**{name: tuple(self._globs(value, f"{key}.{name}")) for name, value in given.items()})

    def _globs(self, node: yaml.Node, key: str) -> Iterator[str]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not entries:
            self._fail(node, key, "is an empty list: it would match nothing")
        for entry in entries:
            if not isinstance(entry, yaml.ScalarNode) or entry.tag == _NULL or not entry.value.strip():
                self._fail(entry, key, "must be a name, a glob such as 'sales_*', or a list of these")
            yield entry.value

    def _locks(self, node: yaml.Node, key: str) -> Iterator[Any]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not entries:
            self._fail(node, key, "is an empty list: a rule has at least one lock")
        for entry in entries:
            if isinstance(entry, yaml.MappingNode):
                self._fields(entry, key)  # for keys that are there twice
            value = self.yaml.construct_document(entry)
            try:
                Lock.of(value, default_name="dag.task")
            except (ConfigurationError, TypeError) as error:
                self._fail(_culprit(entry, str(error)), key, str(error))
            yield value

    def _fields(
        self, node: yaml.Node, key: str, *, known: tuple[str, ...] | None = None, needed: tuple[str, ...] = ()
    ) -> dict[str, yaml.Node]:
        """The entries of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, key, f"must be a mapping with {', '.join(needed or known or ('keys',))}")
        seen = set()
        for name, _ in node.value:
            if name.tag != _MERGE:
                if not isinstance(name, yaml.ScalarNode) or name.value in seen:
                    self._fail(name, key, f"key {name.value!r} is there twice, or is no text")
                seen.add(name.value)
        self.yaml.flatten_mapping(node)  # what `<<: *anchor` brings
        given = {name.value: (name, value) for name, value in node.value}
        for word, (name, _) in given.items():
            if known is not None and word not in known:
                self._fail(name, f"{key}.{word}".lstrip("."), f"is unknown: known are {', '.join(known)}")
        for word in needed:
            if word not in given:
                self._fail(node, key, f"has no {word!r}")
        return {word: value for word, (_, value) in given.items()}

    def _fail(self, node: yaml.Node, key: str, words: str) -> NoReturn:
        where = f"rule file {self.path}, line {_line(node)}"
        raise ConfigurationError(f"{where}, {key}: {words}" if key else f"{where}: {words}")


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _culprit(node: yaml.Node, words: str) -> yaml.Node:
    """The key of a lock that an error is about, else all of it."""
    if isinstance(node, yaml.MappingNode):
        for name, _ in node.value:
            if f"{name.value}=" in words or f"unknown {name.value!r}" in words or f"{name.value} of lock" in words:
                return name
    return node
