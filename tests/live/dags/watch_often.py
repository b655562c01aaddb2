"""For tests/live/test_alerts.py: the example with the watch, word for word, but for its name and how often it looks.

A DAG from airflow, as the dag-processor likes to read in a file.
"""

from __future__ import annotations

from pathlib import Path

EXAMPLE = (Path(__file__).parent / "watch_locks.py").read_text(encoding="utf-8")
CHANGES = {'"watch_locks"': '"watch_often"', 'schedule="* * * * *"': "schedule=timedelta(seconds=8)"}

often = EXAMPLE
for word, other in CHANGES.items():
    assert often.count(word) == 1
    often = often.replace(word, other)
exec(compile(often, __file__, "exec"))
