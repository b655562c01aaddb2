"""The data lake of the flights examples: a bucket per region, the replication between them, the crawlers."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from airflow_lockprovider.demo import flights_input

LANDING = "landing/"
CURATED = "curated/"
ROLE = "arn:aws:iam::123456789012:role/flights"


class Region(NamedTuple):
    """One region of the case study, with the names of what lies there."""

    name: str
    bucket: str
    glue_database: str
    conn_id: str
    cluster: str


REGION_1 = Region("us-east-1", "flights-region1", "flights_region1", "aws_region1", "dwh-region1")
REGION_2 = Region("eu-central-1", "flights-region2", "flights_region2", "aws_region2", "dwh-region2")

CRAWLERS = {
    "flights-region1-landing": (REGION_1, LANDING),
    "flights-region1-curated": (REGION_1, CURATED),
    "flights-region2-curated": (REGION_2, CURATED),
}


def create_bucket(s3: Any, region: Region) -> None:
    """A versioned bucket; nothing happens to one that exists."""
    # us-east-1 is the one region that must not be named.
    where = {} if region.name == "us-east-1" else {"LocationConstraint": region.name}
    if region.bucket not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=region.bucket, **({"CreateBucketConfiguration": where} if where else {}))
    s3.put_bucket_versioning(Bucket=region.bucket, VersioningConfiguration={"Status": "Enabled"})


def replicate(s3: Any) -> None:
    """What is written under ``curated/`` in region 1 is copied to region 2."""
    rule = {
        "ID": "curated",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": CURATED},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{REGION_2.bucket}"},
    }
    s3.put_bucket_replication(
        Bucket=REGION_1.bucket, ReplicationConfiguration={"Role": f"{ROLE}-replication", "Rules": [rule]}
    )


def create_crawlers(glue: Any, region: Region) -> None:
    databases = [found["Name"] for found in glue.get_databases()["DatabaseList"]]
    if region.glue_database not in databases:
        glue.create_database(DatabaseInput={"Name": region.glue_database})
    existing = glue.list_crawlers()["CrawlerNames"]
    for name, (home, prefix) in CRAWLERS.items():
        if home == region and name not in existing:
            targets = {"S3Targets": [{"Path": f"s3://{region.bucket}/{prefix}"}]}
            glue.create_crawler(Name=name, Role=ROLE, DatabaseName=region.glue_database, Targets=targets)


def land_flights(s3: Any) -> int:
    """One CSV per month under ``landing/`` of region 1; what lies there unchanged stays. How many were written."""
    there = {
        found["Key"]: found["ETag"].strip('"')
        for found in s3.list_objects_v2(Bucket=REGION_1.bucket, Prefix=LANDING).get("Contents", [])
    }
    written = 0
    for month, content in flights_input.months().items():
        key = f"{LANDING}flights_2013_{month:02d}.csv"
        if there.get(key) != hashlib.md5(content, usedforsecurity=False).hexdigest():
            s3.put_object(Bucket=REGION_1.bucket, Key=key, Body=content)
            written += 1
    return written
