"""The samples of docs/locking.md and docs/rules.md hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from airflow_lockprovider import Lock
from airflow_lockprovider.operators.wanted import Wanted
from airflow_lockprovider.policies.rule_file import read_rules
from tests.conftest import REPOSITORY
from tests.integration.locked.rule_dags import load, locks


def samples(page: str, language: str) -> list[str]:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_dags_on_the_page_about_locking_can_be_loaded_and_have_their_locks(
    airflow_db: Path, tmp_path: Path
) -> None:
    doors, defaults = samples("locking.md", "python")
    bag = load(tmp_path, {"doors.py": doors, "defaults.py": defaults})

    assert bag.import_errors == {}
    assert locks(bag) == {
        "sales.load": ["dwh.sales"],
        "sales.month": ["dwh.sales.{{ ti.map_index }}"],
        "sales.clean": ["dwh.sales"],
        "sales.report": ["dwh.sales", "dwh.stock"],
        "sales.vacuum": ["dwh.sales"],
        "nightly.load": ["dwh"],
    }


def test_the_lock_in_the_configuration_is_one() -> None:
    (text,) = samples("locking.md", "yaml")
    (lock,) = Wanted.of(yaml.safe_load(text)["load_sales"]["lock"], default_name="x").locks
    assert lock == Lock("dwh.sales", ttl=600, expected_hold=600)


def test_the_table_of_fields_names_those_that_there_are() -> None:
    page = (REPOSITORY / "docs" / "locking.md").read_text(encoding="utf-8")
    table = page.split("| field of `Lock`")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(Lock.__dataclass_fields__) - {"name", "handover_ttl"}


def test_the_rules_on_the_page_about_rules_are_valid(tmp_path: Path) -> None:
    (text,) = samples("rules.md", "yaml")
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    assert [len(rule.locks) for rule in read_rules(tmp_path / "rules.yaml")] == [1, 1, 2]


@pytest.mark.parametrize("page", ["locking.md", "rules.md"])
def test_pages_that_are_linked_are_there(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([a-z_]+\.md)\)", text))
    assert linked
    missing = {name for name in linked if not (REPOSITORY / "docs" / name).exists()}
    assert missing <= {"scope.md", "waiting.md"}, missing
