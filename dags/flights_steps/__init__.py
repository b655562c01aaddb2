"""The steps of the flights pipelines, used by the DAG of each region."""

from __future__ import annotations
