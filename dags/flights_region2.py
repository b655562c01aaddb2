"""
### The flights of New York, region 2: from the replica to its own warehouse

`wait_for_replica → crawl_replica → load`

**What it shows.** The main flow of the case study in its second region:

1. `wait_for_replica` lists once what region 1 has written to `curated/`, and waits until S3 has copied exactly that
   to the bucket of region 2. Its log says why it still waits: "9/12 arrived, 3 pending". A copy that has FAILED fails
   the task at once, by name.
2. `crawl_replica` starts the Glue crawler of region 2 and waits for this crawl.
3. `load` runs the Redshift script of region 2 under the same lock `dwh.flights` as region 1: it copies into a staging
   table, modifies (kilometres, class of delay), updates known flights and inserts new ones.

**Honest about the guard.** The locks live in the warehouse of region 1. The one of region 2 is another database, so
`{{ lease.guard }}` cannot protect its transactions: an owner that was frozen and comes back could still write for a
moment. The remedy is the fencing token: each row carries the token under which it was written, and the script changes
only rows with a smaller one.

**Try it.** Trigger it when `spark` of `flights_region1` has succeeded. (In production let region 1 start it: an
Asset, or a `TriggerDagRunOperator` after `spark`.) Started before, it fails with "holds 0 objects", or takes what an
earlier run has written.

**One step alone.** Choose it under *Only this step* in the trigger form: the others are skipped and take no lock. Or
clear the task in an earlier run. Or `airflow tasks test flights_region2 load RUN_ID` with the id of a finished run
(always give one: `docs/examples.md` says why). Every step finds its input where an earlier run has left it.

**Needs** the connections `dwh_default`, `aws_region1`, `aws_region2`, `smtp_default`, and what lies behind them;
`make demo` makes all of it.
"""

from __future__ import annotations

from airflow.sdk import DAG
from flights_steps.crawl import crawl
from flights_steps.load_scripts import LOAD_REGION_2
from flights_steps.places import CURATED, REGION_1, REGION_2
from flights_steps.warehouse_load import load_under_lock
from shared_steps.alerts import alerts
from shared_steps.only_step import STEP_DEFAULTS, only_step

from airflow_lockprovider.sensors import S3ReplicationSensor

with DAG(
    "flights_region2",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "flights", "region-2"],
    params={"only_step": only_step("wait_for_replica", "crawl_replica", "load")},
    default_args={**STEP_DEFAULTS, "on_failure_callback": alerts()},
    doc_md=__doc__,
):
    wait_for_replica = S3ReplicationSensor(
        task_id="wait_for_replica",
        source_bucket=REGION_1.bucket,
        source_conn_id=REGION_1.aws_conn_id,
        destination_bucket=REGION_2.bucket,
        destination_conn_id=REGION_2.aws_conn_id,
        prefix=CURATED,
        # A repeated run of region 1 overwrites files with others of the same size: versions tell them apart.
        identity=("key", "size", "version_id"),
        poke_interval=(1, 30),
        timeout=1800,
    )

    crawl_replica = crawl("crawl_replica", REGION_2, "flights-region2-curated")

    load = load_under_lock(REGION_2, LOAD_REGION_2)

    wait_for_replica >> crawl_replica >> load
