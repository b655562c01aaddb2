"""Findings of the doctor, printed."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict

from airflow_lockprovider.desk.doctor import Finding, examine
from airflow_lockprovider.desk.verbs import Desk, Found

COLUMNS = ("check", "result", "text")


def report(findings: Iterable[Finding], output: str, desk: Desk) -> None:
    """Print all findings, for people with the next steps below. Raises Found if one of them is wrong."""
    findings = list(findings)
    desk.show([asdict(finding) for finding in findings], output, COLUMNS)
    if output == "table" and (todo := [finding for finding in findings if finding.todo]):
        print()
        for finding in todo:
            print(f"{finding.check}: {finding.todo}")
    if any(finding.result == "wrong" for finding in findings):
        raise Found


def doctor(args: Namespace, desk: Desk) -> None:
    """The doctor without Airflow: the database alone."""
    report(examine(desk.engine, desk.program), args.output, desk)
