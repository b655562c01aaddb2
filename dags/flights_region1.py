"""
### The flights of New York, region 1: from CSV to the warehouse

`crawl_landing → spark → crawl_curated → load`

**What it shows.** The main flow of the case study in its first region:

1. `crawl_landing` starts the Glue crawler over the CSV files in `s3://flights-region1/landing/` and waits for *this*
   crawl.
2. `spark` reads what was catalogued, cleans it, and writes Parquet by month to `curated/`. It runs on PySpark when
   that and Java are there, on DuckDB otherwise; its log says which. S3 copies `curated/` to region 2 meanwhile.
3. `crawl_curated` catalogues the Parquet files.
4. `load` runs the Redshift script under the lock `dwh.flights`, which the load of region 2 needs as well. The script
   is one transaction that begins with `{{ lease.guard }}`: an owner that has lost its lease cannot commit. It
   replaces whole months, so it can be repeated. The task is made in `flights_steps/warehouse_load.py`.

Waiting (for the crawls, for the lock) is done in the triggerer and costs no worker slot; waiting for Redshift, too,
if `aiobotocore` is installed, which the amazon provider needs for it.

**Try it.** Trigger it; when `spark` has succeeded, trigger `flights_region2`. Both warehouses then hold 336,776
flights.

**One step alone.** Choose it under *Only this step* in the trigger form: the others are skipped and take no lock. Or
clear the task in an earlier run. Or `airflow tasks test flights_region1 load RUN_ID` with the id of a finished run
(always give one: `docs/examples.md` says why). Every step finds its input where an earlier run has left it.

**Needs** the connections `dwh_default`, `aws_region1`, `smtp_default`, and what lies behind them; `make demo` makes
all of it.
"""

from __future__ import annotations

from airflow.sdk import DAG, task
from flights_steps.crawl import crawl
from flights_steps.curate import curate_flights
from flights_steps.load_scripts import LOAD_REGION_1
from flights_steps.places import REGION_1
from flights_steps.warehouse_load import load_under_lock
from shared_steps.alerts import alerts
from shared_steps.only_step import STEP_DEFAULTS, only_step

with DAG(
    "flights_region1",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "flights", "region-1"],
    params={"only_step": only_step("crawl_landing", "spark", "crawl_curated", "load")},
    default_args={**STEP_DEFAULTS, "on_failure_callback": alerts()},
    doc_md=__doc__,
):
    crawl_landing = crawl("crawl_landing", REGION_1, "flights-region1-landing")

    @task
    def spark():
        return curate_flights(REGION_1)

    crawl_curated = crawl("crawl_curated", REGION_1, "flights-region1-curated")

    load = load_under_lock(REGION_1, LOAD_REGION_1)

    crawl_landing >> spark() >> crawl_curated >> load
