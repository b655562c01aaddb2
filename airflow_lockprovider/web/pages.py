"""The files of the page. Strangers get none of them: a page leads them to the login first."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Depends, HTTPException, Response, status

from airflow_lockprovider.web.security import viewing

router = APIRouter(dependencies=[Depends(viewing)], include_in_schema=False)

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@router.get("/")
def locks_page() -> Response:
    """The Locks page."""
    return page("locks.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """One of our files."""
    return page(name)


def page(name: str) -> Response:
    """A file of ``static/``, as an answer. All addresses in it are relative: it works under any prefix."""
    found = _files().get(name)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no file {name!r}")
    content, kind = found
    return Response(content, media_type=f"{kind}; charset=utf-8")


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    folder = files("airflow_lockprovider.web") / "static"
    return {
        entry.name: (entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
        for entry in folder.iterdir()
        if entry.name.rpartition(".")[2] in _TYPES
    }
