"""The tables that the example DAGs write, in both warehouses."""

from __future__ import annotations

from airflow_lockprovider.demo.flights_input import MonthAndCarrier, Totals

# Spelled so that Redshift would take it too. There, keys are declarations that nobody checks.
_TABLES = """
create schema if not exists demo;
create schema if not exists dwh;

create table if not exists demo.node_b_run (
    dag_id varchar(250) not null,
    run_id varchar(250) not null,
    token bigint not null,
    started_at timestamptz not null,
    ended_at timestamptz
);

create table if not exists demo.pipeline_run (
    dag_id varchar(250) not null,
    run_id varchar(250) not null,
    token bigint not null,
    ended_at timestamptz not null
);
"""

_COLUMNS = """
    flight_date date not null,
    hour integer not null,
    carrier varchar(2) not null,
    flight integer not null,
    tailnum varchar(10),
    origin varchar(3) not null,
    dest varchar(3) not null,
    dep_delay integer,
    arr_delay integer,
    air_time integer,
    distance integer not null,
    cancelled boolean not null,
    month integer not null,
    lock_token bigint not null
"""

_REGION_1 = f"create table if not exists dwh.flights ({_COLUMNS}, primary key (flight_date, hour, carrier, flight))"
_REGION_2 = f"""
create table if not exists dwh.flights ({_COLUMNS},
    distance_km integer not null,
    delay_class varchar(10) not null,
    primary key (flight_date, hour, carrier, flight)
)
"""

_TOTALS = """
select month, carrier, count(*), sum(distance), coalesce(sum(air_time), 0)
from dwh.flights group by month, carrier order by month, carrier
"""


def create_tables(dsn: str, *, second_region: bool = False) -> None:
    """Make what is missing; existing tables and their rows stay. The database of region 2 has no Node B."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute("create schema if not exists dwh" if second_region else _TABLES)
        connection.execute((_REGION_2 if second_region else _REGION_1).encode())


def loaded(dsn: str) -> dict[MonthAndCarrier, Totals]:
    """Totals per month and carrier in the warehouse behind ``dsn``; to be compared with `expected()`."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        rows = connection.execute(_TOTALS).fetchall()
    return {(month, carrier): Totals(*map(int, totals)) for month, carrier, *totals in rows}
