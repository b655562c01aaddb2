"""A lock changes nothing but the lock: every operator and sensor of the installed providers, through four doors."""

from __future__ import annotations

import re

import pytest
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

from airflow_lockprovider import LockedOperator
from airflow_lockprovider.exceptions import ConfigurationError
from tests.transparency.comparing import Finding, look_at_all
from tests.transparency.plausible import PROVIDERS

# Nobody can make a task of these: a class attribute is to be set by those that inherit from them.
ABSTRACT = {"AwsBaseOperator", "AwsBaseSensor"}
REFUSED = {"EmptyOperator", "ExternalTaskMarker", "_StubOperator"}


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return look_at_all()


def names(findings: list[Finding], outcome: str) -> set[str]:
    return {finding.cls.__name__ for finding in findings if finding.outcome == outcome}


def test_a_locked_task_is_serialised_as_the_bare_one_but_for_the_lock(findings: list[Finding]) -> None:
    assert [str(finding) for finding in findings if finding.outcome == "different"] == []


def test_what_cannot_be_locked_is_refused_with_the_reason_and_what_to_do(findings: list[Finding]) -> None:
    assert names(findings, "refused") == REFUSED
    for finding in findings:
        if finding.outcome == "refused":
            assert "cannot be locked: " in finding.words
            assert re.search("Lock the task that|Take the lock in that work", finding.words)


def test_nearly_all_classes_were_looked_at(findings: list[Finding]) -> None:
    assert names(findings, "not built") == ABSTRACT
    assert len(names(findings, "same")) >= 300
    seen = {finding.cls.__module__ for finding in findings if finding.outcome == "same"}
    for provider in PROVIDERS:
        if provider != "postgres":  # its operators are those of common.sql
            assert any(module.startswith(f"airflow.providers.{provider}.") for module in seen)


def test_a_trigger_of_other_dags_can_be_locked_if_it_does_not_wait_for_them() -> None:
    task = LockedOperator(task_id="go", operator=TriggerDagRunOperator, lock="x", trigger_dag_id="other")
    assert task.lock_name == "x"
    with pytest.raises(ConfigurationError, match="Lock the task in the triggered DAG instead"):
        LockedOperator(
            task_id="go", operator=TriggerDagRunOperator, lock="x", trigger_dag_id="other", wait_for_completion=True
        )
