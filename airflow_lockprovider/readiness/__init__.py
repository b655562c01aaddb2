"""Is the data really there? Rules that know neither Airflow nor boto3: clients are handed in.

A probe looks at one thing (copies of S3 objects in another region, a crawl). ``begin()`` fixes what is waited
for, once; ``step()`` looks again and answers with a `Verdict`; ``state()`` and ``restore()`` carry it to another
process. Sensors and the trigger do nothing but call these.
"""

from __future__ import annotations

from airflow_lockprovider.readiness.manifest_writing import write_manifest

__all__ = ["write_manifest"]
