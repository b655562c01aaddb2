"""``python -m tests.transparency``: prints what became of every operator and sensor of the installed providers."""

from __future__ import annotations

from collections import Counter

from tests import conftest  # noqa: F401  # sets Airflow up, before it is imported
from tests.transparency.comparing import look_at_all
from tests.transparency.plausible import not_imported


def main() -> None:
    findings = look_at_all()
    for finding in sorted(findings, key=lambda one: (one.outcome, one.cls.__module__, one.cls.__name__)):
        print(finding)
    for module, why in not_imported().items():
        print(f"left out  {module}: {why}")
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(f.outcome for f in findings).items())))


if __name__ == "__main__":
    main()
