"""What a rule file may say, and what is told about one that is wrong: file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.policies.rule import Pattern
from airflow_lockprovider.policies.rule_file import read_rules


def read(folder: Path, text: str):
    (folder / "rules.yaml").write_text(text, encoding="utf-8")
    return read_rules(folder / "rules.yaml")


def test_a_rule_says_which_tasks_which_not_and_their_lock(tmp_path):
    (first, second) = read(
        tmp_path,
        """\
rules:
  - match: {dag: "sales_*", operator: [GlueJobOperator, "*SQL*"]}
    except: {task: report}
    lock: dwh.sales
  - match:
      outlet: s3://dwh/*
    lock:
      - dwh.stock
      - {name: "dwh.{{ params.table }}", lock_duration: 10 mins}
""",
    )
    assert first.match == Pattern(dag=("sales_*",), operator=("GlueJobOperator", "*SQL*"))
    assert first.exempt == Pattern(task=("report",))
    assert first.locks == ("dwh.sales",)
    assert second.locks == ("dwh.stock", {"name": "dwh.{{ params.table }}", "lock_duration": "10 mins"})
    assert [rule.place for rule in (first, second)] == [f"{tmp_path}/rules.yaml, line {line}" for line in (2, 5)]


def test_rules_may_share_their_lock_by_an_anchor(tmp_path):
    rules = read(
        tmp_path,
        """\
rules:
  - match: {dag: a}
    lock: &slow {name: dwh, ttl: 5 mins}
  - match: {dag: b}
    lock: *slow
  - match: {dag: c}
    lock: {<<: *slow, name: lake}
""",
    )
    assert rules[1].locks == rules[0].locks
    assert rules[2].locks == ({"name": "lake", "ttl": "5 mins"},)


def test_a_list_without_rules_is_no_mistake(tmp_path):
    assert read(tmp_path, "rules: []") == ()


ONE = "rules:\n  - match: {dag: a}\n    lock: x\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, r"is empty: write 'rules: \[\]'"),
        ("# only a comment\n", None, r"is empty"),
        ("- match: {dag: a}\n", 1, r"must be a mapping with rules"),
        ("rulez: []\n", 1, r"rulez: is unknown: known are rules"),
        ("{}\n", 1, r"has no 'rules'"),
        ("rules: {a: b}\n", 1, r"rules: must be a list"),
        ("rules:\n  - match: {dag: a\n", 3, r"no valid YAML"),
        ("rules:\n\t- x\n", 2, r"no valid YAML"),
        (ONE + "---\nrules: []\n", 4, r"no valid YAML: but found another document"),
        (ONE + "rules: []\n", 4, r"key 'rules' is there twice"),
        (ONE + "  - just text\n", 4, r"rules\[1\]: must be a mapping with match, lock"),
        (ONE + "  - lock: x\n", 4, r"rules\[1\]: has no 'match'"),
        (ONE + "  - match: {dag: b}\n", 4, r"rules\[1\]: has no 'lock'"),
        (ONE + "  - match: {dag: b}\n    lokc: x\n", 5, r"rules\[1\]\.lokc: is unknown: known are match, except, lock"),
        (ONE + "  - match: {}\n    lock: x\n", 4, r"rules\[1\]\.match: is empty: .* or \{dag: '\*'\}"),
        (ONE + "  - match:\n    lock: x\n", 4, r"rules\[1\]\.match: must be a mapping"),
        (ONE + "  - match:\n      dag: b\n      tsak: c\n    lock: x\n", 6, r"rules\[1\]\.match\.tsak: is unknown"),
        (
            ONE + "  - match:\n      dag: b\n      dag: c\n    lock: x\n",
            6,
            r"rules\[1\]\.match: key 'dag' is there twice",
        ),
        (ONE + "  - match:\n      dag: []\n    lock: x\n", 5, r"rules\[1\]\.match\.dag: is an empty list"),
        (ONE + "  - match:\n      dag:\n    lock: x\n", 5, r"rules\[1\]\.match\.dag: must be a name"),
        (ONE + "  - match:\n      dag: [b, '']\n    lock: x\n", 5, r"rules\[1\]\.match\.dag: must be a name"),
        (ONE + "  - match: {dag: b}\n    except: {}\n    lock: x\n", 5, r"rules\[1\]\.except: is empty"),
        (ONE + "  - match: {dag: b}\n    lock: []\n", 5, r"rules\[1\]\.lock: is an empty list"),
        (ONE + "  - match: {dag: b}\n    lock:\n", 5, r"rules\[1\]\.lock: lock=None must be a name"),
        (ONE + "  - match: {dag: b}\n    lock: 7\n", 5, r"rules\[1\]\.lock: lock=7 must be a name"),
        (
            ONE + "  - match: {dag: b}\n    lock:\n      name: y\n      tll: 5\n",
            7,
            r"rules\[1\]\.lock: .*unknown 'tll': known are",
        ),
        (
            ONE + "  - match: {dag: b}\n    lock:\n      name: y\n      ttl: soon\n",
            7,
            r"rules\[1\]\.lock: ttl of lock 'y'.*soon",
        ),
        (
            ONE + "  - match: {dag: b}\n    lock: [y, {name: z, on_busy: explode}]\n",
            5,
            r"rules\[1\]\.lock: on_busy='explode'",
        ),
        (ONE + "  - match: {dag: b}\n    lock: {name: y, name: z}\n", 5, r"key 'name' is there twice"),
        (ONE + "  - match: {dag: b}\n    lock: !!python/name:os.system x\n", 5, r"could not determine a constructor"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(tmp_path, text, line, words):
    where = r"rule file .*/rules\.yaml" + (f", line {line}\\b" if line else "")
    with pytest.raises(ConfigurationError, match=f"^{where}.*{words}"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_a_mistake_that_says_what_to_do(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml cannot be read.*Correct \[lockprovider\] rules"):
        read_rules(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_rules(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("rules: [] # Ärger".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_rules(tmp_path / "latin.yaml")
