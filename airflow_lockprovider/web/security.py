"""Who may see the page, who may act on locks, and what the browser may do with it.

Airflow protects no app of a plugin: each route here asks for itself. Seeing needs what Airflow's own page of plugins
needs. Acting on a lock needs the right to edit the Airflow connection behind it: whoever has that could point the
locks elsewhere anyway, so nobody gains a power by this page, and every auth manager knows that right.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, ConnectionDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models import Connection
from fastapi import Depends, HTTPException, Request, status

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer: nothing from elsewhere runs or loads, and only Airflow's own pages may frame it."""

ACT_HEADER = "X-Lockprovider"
"""Every act carries it. A page from elsewhere cannot send it without asking first (CORS), and is refused."""

User = Annotated[BaseUser, Depends(get_user)]
"""Who asks; 401 for a stranger."""


def viewing(user: User) -> None:
    """For those who may see plugins' pages; 403 for others."""
    if not get_auth_manager().is_authorized_view(access_view=AccessView.PLUGINS, user=user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "this page is for those who may see plugins: ask for that right")


def same_origin(request: Request) -> None:
    """For every act: refuse what a page from elsewhere made the browser send. 403."""
    if request.headers.get("sec-fetch-site") not in (None, "same-origin"):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "this request comes from another site")
    if request.headers.get(ACT_HEADER) != "1":
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"acts need the header {ACT_HEADER}: 1")


def may_steer(user: BaseUser, conn_id: str) -> bool:
    """Whether this person may revoke, pause and resume the locks behind a connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=Connection.get_team_name(conn_id))
    return get_auth_manager().is_authorized_connection(method="PUT", details=details, user=user)
