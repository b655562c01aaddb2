"""The shape of ``airflow locks ready …``."""

# mypy: disable-error-code="no-untyped-call"
# Airflow's Arg has no annotations.
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.cli.cli_config import GroupCommand

_EPILOG = "Exit code: 0 ready, 1 not yet, 2 will not come by itself, 3 a name, permission or setting is wrong"


def ready_group() -> GroupCommand:
    """``airflow locks ready`` with a command for each kind of data."""
    from airflow.cli.cli_config import (
        ARG_OUTPUT,
        ARG_VERBOSE,
        ActionCommand,
        Arg,
        GroupCommand,
        lazy_load_command,
    )

    aws = (
        Arg(("--conn-id",), help="AWS connection (default: %(default)s)", default="aws_default"),
        Arg(("--region",), help="region (default: the connection's)"),
    )
    partition = Arg(
        ("--partition",),
        help="a partition, such as year=2026/month=01; repeat it for several",
        action="append",
        required=True,
        metavar="PARTITION",
    )
    location_prefix = Arg(("--location-prefix",), help="where the partitions have to lie", metavar="s3://BUCKET/PATH")

    def command(name: str, text: str, *args: Arg) -> ActionCommand:
        run = lazy_load_command(f"airflow_lockprovider.cli.ready.{name.replace('-', '_')}")
        return ActionCommand(name=name, help=text, func=run, args=(*args, ARG_OUTPUT, ARG_VERBOSE), epilog=_EPILOG)

    return GroupCommand(
        name="ready",
        help="Look once whether data is there, as the sensors do; change nothing",
        description=f"Look once whether data is there, as the sensors do; change nothing. {_EPILOG}",
        subcommands=(
            command(
                "s3-replication",
                "Have all objects arrived in the replica?",
                Arg(("--source",), help="what is replicated", required=True, metavar="s3://BUCKET/PREFIX"),
                Arg(("--destination",), help="the replica", required=True, metavar="s3://BUCKET"),
                Arg(("--source-conn-id",), help="AWS connection (default: %(default)s)", default="aws_default"),
                Arg(("--destination-conn-id",), help="AWS connection of the replica (default: the source's)"),
                Arg(("--source-region",), help="region (default: the connection's)"),
                Arg(("--destination-region",), help="region of the replica (default: the connection's)"),
                Arg(("--min-objects",), help="fewer objects are a failure (default: %(default)s)", type=int, default=1),
                Arg(("--manifest",), help="wait for what this manifest lists", metavar="s3://BUCKET/KEY"),
            ),
            command(
                "s3-manifest",
                "Is all there that a manifest lists?",
                Arg(("manifest",), help="the manifest", metavar="s3://BUCKET/KEY"),
                Arg(("--bucket",), help="where the objects have to be (default: the manifest's)"),
                *aws,
            ),
            command(
                "glue-crawl",
                "Has the last crawl succeeded?",
                Arg(("crawler",), help="name of the crawler"),
                Arg(("--after",), help="only a crawl that started then or later counts", metavar="ISO-TIME"),
                Arg(("--table",), help="with --partition: the table of the crawler's database"),
                Arg(("--partition",), help="has to be in the catalog; repeat it for several", action="append"),
                *aws,
            ),
            command(
                "glue-partition",
                "Are partitions in the catalog, in the right place, with data?",
                Arg(("table",), help="the table", metavar="DATABASE.TABLE"),
                partition,
                location_prefix,
                Arg(("--min-update-time",), help="a file has to be from then or later", metavar="ISO-TIME"),
                Arg(("--any-region",), help="the bucket may be in another region", action="store_true"),
                Arg(("--may-be-empty",), help="do not look for data files", action="store_true"),
                *aws,
            ),
            command(
                "glue-job-run",
                "Has a run of a Glue job succeeded?",
                Arg(("job",), help="name of the job"),
                Arg(("run_id",), help="id of the run", metavar="RUN"),
                *aws,
            ),
            command(
                "redshift-external",
                "Does Redshift Spectrum see partitions?",
                Arg(("table",), help="the external table", metavar="SCHEMA.TABLE"),
                partition,
                Arg(("--database",), help="the Redshift database", required=True),
                Arg(("--workgroup",), help="serverless: the workgroup"),
                Arg(("--cluster",), help="or the cluster"),
                Arg(("--db-user",), help="who asks, on a cluster"),
                Arg(("--secret-arn",), help="a secret with name and password instead"),
                Arg(("--min-files",), help="Spectrum has to read so many files (default: 0)", type=int, default=0),
                location_prefix,
                *aws,
            ),
        ),
    )
