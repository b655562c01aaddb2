"""All that the example DAGs find around them: lake, crawlers, warehouses, alert channel, connections.

``python -m airflow_lockprovider.demo.world`` builds it where the ``AIRFLOW_CONN_…`` of the environment say, for
docker-compose.yaml.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.demo import alert_channel, flights_input, lake, warehouse_tables
from airflow_lockprovider.demo.flights_input import MonthAndCarrier, Totals
from airflow_lockprovider.demo.lake import REGION_1, REGION_2, Region
from airflow_lockprovider.demo.ports import LOOPBACK
from airflow_lockprovider.lease import connect

_ACCESS_KEY = "simulated"
SENDER = "airflow@example.com"


@dataclass(frozen=True, slots=True)
class World:
    """The world of the example DAGs on a simulated AWS and two Postgres databases.

    The simulated AWS has to know the databases as its warehouses: see `warehouses()`.
    """

    endpoint_url: str
    """Of the simulated AWS."""
    region1_dsn: str
    """Warehouse of region 1. The locks live here, too."""
    region2_dsn: str
    """Warehouse of region 2."""
    smtp_port: int
    """Of a mail server on this machine that wants neither login nor TLS."""

    def build(self) -> None:
        """Make what is missing, in a few seconds; a second call changes nothing."""
        for region in (REGION_1, REGION_2):
            lake.create_bucket(self.client("s3", region), region)
            lake.create_crawlers(self.client("glue", region), region)
        lake.replicate(self.client("s3", REGION_1))
        lake.land_flights(self.client("s3", REGION_1))
        alert_channel.create_alert_channel(self.client("events", REGION_1), self.client("sqs", REGION_1))
        warehouse_tables.create_tables(self.region1_dsn)
        warehouse_tables.create_tables(self.region2_dsn, second_region=True)
        locks = connect(self.region1_dsn)
        try:
            locks.init_schema()
        finally:
            locks.close()

    def connections(self) -> dict[str, str]:
        """The Airflow connections that the DAGs name, as environment variables."""
        aws = {
            region.conn_id: json.dumps(
                {
                    "conn_type": "aws",
                    "login": _ACCESS_KEY,
                    "password": _ACCESS_KEY,
                    "extra": {"endpoint_url": self.endpoint_url, "region_name": region.name},
                }
            )
            for region in (REGION_1, REGION_2)
        }
        smtp = {
            "conn_type": "smtp",
            "host": LOOPBACK,
            "port": self.smtp_port,
            # Airflow ends a finished task's process after 20 s: its alerts must not try longer than that.
            "extra": {
                "disable_ssl": True,
                "disable_tls": True,
                "from_email": SENDER,
                "timeout": 5,
                "retry_limit": 1,
            },
        }
        named = {
            **aws,
            "dwh_default": self.region1_dsn,
            "dwh_region2": self.region2_dsn,
            "smtp_default": json.dumps(smtp),
        }
        return {f"AIRFLOW_CONN_{name.upper()}": value for name, value in named.items()}

    def expected(self) -> dict[MonthAndCarrier, Totals]:
        """Totals of the input per month and carrier."""
        return flights_input.expected()

    def loaded(self, dsn: str) -> dict[MonthAndCarrier, Totals]:
        """Totals in the warehouse behind ``dsn`` per month and carrier."""
        return warehouse_tables.loaded(dsn)

    def alerts(self) -> list[dict[str, Any]]:
        """The EventBridge events that have arrived since the last call."""
        return alert_channel.received(self.client("sqs", REGION_1))

    def client(self, service: str, region: Region) -> Any:
        """A boto3 client of the simulated AWS."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            region_name=region.name,
            endpoint_url=self.endpoint_url,
            config=Config(s3={"addressing_style": "path"}),  # the name of a bucket is no name of a host here
            aws_access_key_id=_ACCESS_KEY,
            aws_secret_access_key=_ACCESS_KEY,
        )


def warehouses(region1_dsn: str, region2_dsn: str) -> dict[str, str]:
    """Redshift cluster → DSN, for ``AwsSimulator(warehouses=…)``."""
    return {REGION_1.cluster: region1_dsn, REGION_2.cluster: region2_dsn}


def main() -> None:
    """Build the world that the connections in the environment name, as soon as its simulated AWS answers."""
    aws = json.loads(os.environ["AIRFLOW_CONN_AWS_REGION1"])
    smtp = json.loads(os.environ["AIRFLOW_CONN_SMTP_DEFAULT"])
    world = World(
        endpoint_url=aws["extra"]["endpoint_url"],
        region1_dsn=os.environ["AIRFLOW_CONN_DWH_DEFAULT"],
        region2_dsn=os.environ["AIRFLOW_CONN_DWH_REGION2"],
        smtp_port=smtp["port"],
    )
    world.client("s3", REGION_1).list_buckets()  # boto3 asks a server that is just starting several times
    world.build()
    print("the lake, the warehouses, the alert channel and the lock tables are made")


if __name__ == "__main__":
    main()
