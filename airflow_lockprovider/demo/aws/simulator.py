"""The simulated AWS as one object: start it, script it, ask it what happened."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock, Thread
from types import TracebackType
from typing import Any, ClassVar

import boto3
from botocore.config import Config
from moto.moto_api._internal import moto_api_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from airflow_lockprovider.aws.account_host import without_account
from airflow_lockprovider.demo.aws.batch_replication import BatchReplication
from airflow_lockprovider.demo.aws.crawler import Crawlers
from airflow_lockprovider.demo.aws.faults import Fault, Faults
from airflow_lockprovider.demo.aws.gateway import CONTROL_PATH, Gateway
from airflow_lockprovider.demo.aws.job_runs import JobRuns
from airflow_lockprovider.demo.aws.partitions import Partitions
from airflow_lockprovider.demo.aws.redshift_data import RedshiftData
from airflow_lockprovider.demo.aws.replication import Replication
from airflow_lockprovider.demo.aws.request import RequestCounts
from airflow_lockprovider.demo.aws.settings import Settings

ACCESS_KEY = "simulated"
_HOST = "127.0.0.1"


class AwsSimulator:
    """Simulated AWS on 127.0.0.1 (in a container: ``host="0.0.0.0"``), all regions behind one ``endpoint_url``.

    ``warehouses`` says on which Postgres the Redshift Data API runs its SQL: cluster identifier, workgroup
    name or region (the fallback) → DSN. ``port=0`` takes a free one. One simulator per process: moto keeps
    its state in the process, and it is emptied when a simulator starts and when it stops.
    """

    _in_use: ClassVar[Lock] = Lock()

    def __init__(
        self, port: int = 0, warehouses: Mapping[str, str] | None = None, *, host: str = _HOST, **settings: Any
    ) -> None:
        self._host = host
        self._port = port
        self._first_settings = Settings().changed(**settings)
        self._settings = self._first_settings
        self._counts = RequestCounts()
        self._faults = Faults()
        self._replication = Replication(self._current)
        self._batch = BatchReplication(self._current, self._replication)
        self._crawlers = Crawlers(self._current)
        self._job_runs = JobRuns(self._current)
        self._redshift_data = RedshiftData(dict(warehouses or {}))
        self._server: BaseWSGIServer | None = None
        self._thread: Thread | None = None

    def __enter__(self) -> AwsSimulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError(
                "a simulated AWS already runs in this process, and moto's state is one per process: use that one, "
                "stop it, or start another with python -m airflow_lockprovider.demo.aws"
            )
        try:
            _empty_moto()
            application = Gateway(
                DomainDispatcherApplication(create_backend_app),
                settings=self._current,
                control=self,
                counts=self._counts,
                faults=self._faults,
                replication=self._replication,
                batch=self._batch,
                services={
                    "glue": (self._crawlers, self._job_runs, Partitions(self._current)),
                    "redshift-data": (self._redshift_data,),
                },
            )
            self._server = make_server(
                self._host, self._port, application, threaded=True, request_handler=_QuietRequestHandler
            )
        except BaseException:
            self._in_use.release()
            raise
        self._replication.start()
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="simulated-aws", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End everything that was started; safe to call twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None
        self._batch.stop()
        self._crawlers.stop()
        self._redshift_data.stop()
        self._replication.stop()
        _empty_moto()
        self._in_use.release()

    @property
    def endpoint_url(self) -> str:
        if self._server is None:
            raise RuntimeError("the simulated AWS is not running: start() it, or use it in a with block")
        return f"http://{_HOST}:{self._server.server_port}"

    @property
    def control_url(self) -> str:
        """GET: settings, request counts, replication journal. POST: a JSON object of settings, and/or
        ``reset`` and ``faults`` (a list)."""
        return self.endpoint_url + CONTROL_PATH

    def client(self, service: str, region: str, **config: Any) -> Any:
        """A boto3 client of that service in that region; ``config`` goes to botocore's Config."""
        client = boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=ACCESS_KEY,
            config=Config(**config),
        )
        return without_account(client) if service == "s3control" else client

    def configure(self, **settings: Any) -> None:
        """Change some settings (see ``Settings``); the others stay."""
        self._settings = self._settings.changed(**settings)
        self._replication.reconsider()

    def fault(self, operation: str, code: str | None = None, **more: Any) -> None:
        """Some requests of ``"s3.HeadObject"`` (or of ``"s3.*"``) go wrong, beside the faults there are already:
        see ``Fault``. ``reset()`` and ``clear_faults()`` end it."""
        self._faults.add(Fault(operation, code, **more))

    def set_job_run(self, job: str, state: str, *, error: str | None = None, run_id: str | None = None) -> None:
        """A run of that Glue job (None: the newest) is in this state from now on; any text is taken, as AWS may
        invent new ones."""
        self._job_runs.become(job, state, error, run_id)

    def clear_faults(self) -> None:
        self._faults.replace([])

    def reset(self, what: str = "all") -> None:
        """``requests``: count from zero again. ``all``: as if freshly started, with no bucket, crawler,
        statement or copy left."""
        if what not in ("requests", "all"):
            raise ValueError(f"reset={what!r} is not known: say 'requests' or 'all'")
        self._counts.clear()
        if what == "all":
            self._batch.stop()
            self._crawlers.stop()
            self._redshift_data.stop()
            self._replication.forget()
            self._job_runs.forget()
            self._settings = self._first_settings
            self.clear_faults()
            _empty_moto()

    def requests(self) -> dict[str, dict[str, int]]:
        """How often each operation was asked for: ``{"s3": {"PutObject": 3}, ...}``."""
        return self._counts.as_dict()

    def replication_journal(self) -> list[dict[str, Any]]:
        return self._replication.journal()

    def report(self) -> dict[str, Any]:
        return {
            "settings": self._settings.as_dict(),
            "requests": self.requests(),
            "replication_journal": self.replication_journal(),
        }

    def apply(self, changes: dict[str, Any]) -> None:
        """What a POST to the control path does: ``reset`` first, then the settings; ``faults`` is the list that holds
        from now on."""
        settings = {name: value for name, value in changes.items() if name not in ("reset", "faults")}
        self._settings.changed(**settings)  # refuse nonsense before anything is lost
        faults = [Fault(**fault) for fault in changes.get("faults", [])]
        if what := changes.get("reset"):
            self.reset("all" if what is True else what)
        self.configure(**settings)
        if "faults" in changes:
            self._faults.replace(faults)

    def _current(self) -> Settings:
        return self._settings


class _QuietRequestHandler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: the counts say what was asked."""


def _empty_moto() -> None:
    moto_api_backends["global"].reset()
