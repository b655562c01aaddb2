"""The app, put together. It is mounted under ``/lockprovider`` of Airflow's api-server."""

from __future__ import annotations

import logging
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_lockprovider.lease.errors import LockProviderError, SchemaOutdated, StoreUnavailable
from airflow_lockprovider.web import acts, locks, pages, run_alone_routes
from airflow_lockprovider.web.security import HEADERS, viewing

log = logging.getLogger(__name__)


def build_app() -> FastAPI:
    """A new app with all routes. It has no login of its own: Airflow's auth manager says who asks."""
    app = FastAPI(
        title="Locks",
        summary="Who holds which lock in the data warehouse, who waits and why, what happened; and acting on it.",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # the description is behind the login too, see below
        redirect_slashes=False,
    )
    app.add_middleware(_Headers)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(LockProviderError, _unable)
    app.add_exception_handler(Exception, _mistake)
    app.include_router(pages.router)
    app.include_router(locks.router)
    app.include_router(acts.router)
    app.include_router(run_alone_routes.router)

    @app.get("/openapi.json", dependencies=[Depends(viewing)], include_in_schema=False)
    def openapi(request: Request) -> dict[str, Any]:
        return {**app.openapi(), "servers": [{"url": request.scope.get("root_path", "")}]}

    return app


class _Headers:
    """Puts the headers of `security.HEADERS` on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if error.status_code == 401 and wants_page:
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(get_auth_manager().get_url_login(next_url=back), 302)
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


async def _unable(request: Request, error: Exception) -> Response:
    """The locks cannot be read: 503, why, and which kind of trouble, for the page to say what to do."""
    kind = "down" if isinstance(error, StoreUnavailable) else "settings"
    if isinstance(error, SchemaOutdated):
        kind = "tables"
    return JSONResponse({"detail": str(error), "kind": kind}, 503)


async def _mistake(request: Request, error: Exception) -> Response:
    # Its text may hold anything, so it goes into the log alone. This answer passes by the middleware above.
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    told = "the page has a fault: see the log of the api-server"
    return JSONResponse({"detail": told}, 500, headers=HEADERS)
