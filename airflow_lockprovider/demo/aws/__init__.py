"""Simulated AWS, two regions in one process: a moto server, made honest where moto only pretends.

**It is a simulation.** It acts on what is stored (replication rules, crawler targets, objects, SQL) with
the semantics that AWS documents, so that code which waits, retries and alerts meets the states it will meet
in an account. It proves no latency, no permission and no price of the real thing.

What it does beyond moto, each in the file of that name:

* ``replication``: objects written under an Enabled rule are PENDING, arrive later in the destination bucket
  with the same version id and LastModified, and become COMPLETED (source) and REPLICA (copy); scripted
  failures and stalls; delete markers where the rule takes them along; a journal of arrivals.
* ``crawler`` and ``catalog``: a crawl runs, ends, and writes to the catalog what lay in S3 when it started.
* ``redshift_data``: statements run on a real Postgres; ``COPY ... FROM 's3://'`` reads the simulated S3.
* ``batch_replication``: jobs of S3 Batch Operations that replicate what was left behind.
* ``job_runs`` and ``partitions``: Glue job runs that end in any state; partitions that come back unprocessed.
* ``faults``: error codes, delays and lost connections for chosen requests.
* ``request``: every AWS request is counted by service and operation, so that a test can assert what a wait
  costs.

What it does not do: IAM decides nothing; tags and ACLs set after the write, and objects
older than a rule are not replicated, and no ``s3:Replication`` events are sent; Glue jobs compute nothing, and crawler
schedules, exclusions and deletions are moto's (they do nothing); Redshift SQL is Postgres SQL except for
COPY; Data API sessions and ``WithEvent`` are refused. All state is lost at the end.

moto itself is not patched: the simulator stands in front of its WSGI application, answers some operations
alone, and reads and writes moto's in-memory models. These are internals of moto, so its version is pinned.
"""

from __future__ import annotations

from airflow_lockprovider.demo.aws.settings import Settings
from airflow_lockprovider.demo.aws.simulator import AwsSimulator

__all__ = ["AwsSimulator", "Settings"]
