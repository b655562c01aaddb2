"""The samples of docs/readiness.md run as they are, and its numbers are those of the code."""

from __future__ import annotations

import re

from airflow_lockprovider.readiness import replication, replication_finding, replication_preflight, window
from airflow_lockprovider.readiness.client_error import _IAM_ACTION
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "readiness.md").read_text(encoding="utf-8")


def test_the_samples_of_the_page_are_dags() -> None:
    tasks = {}
    samples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for sample in samples:
        names: dict[str, object] = {}
        exec(re.sub(r"^(with DAG\(.*\)):$", r"\1 as dag:", sample, flags=re.MULTILINE), names)
        if "dag" in names:
            tasks |= names["dag"].task_dict  # type: ignore[attr-defined]
    assert tasks["wait_for_copies"].stall_after == 1200


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    said = " ".join(PAGE.split())
    assert f"{replication_finding.HEADS_PER_LIST} HEADs" in said
    assert f"no more than {replication.SAMPLES_PER_LOOK} HEADs" in said
    assert f"at most {window.MAX_STATE_CHARS:,} characters" in said
    assert replication_preflight.AGAIN_AFTER == 600
    assert "every ten minutes" in said


def test_every_action_that_a_refusal_may_name_for_s3_is_on_the_page() -> None:
    wanted = {action for text in _IAM_ACTION.values() for action in re.findall(r"s3:\w+", text)}
    assert wanted <= set(re.findall(r"s3:\w+", PAGE))
