"""What knows boto3's clients, and neither Airflow nor the rules of readiness."""

from __future__ import annotations
