"""What a person may do to a lock: take it away, pause it, let it go on. Each with a reason and their name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, HTTPException, status
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.web.answers import Done
from airflow_lockprovider.web.security import User, same_origin, viewing
from airflow_lockprovider.web.warehouse import Asked, MayAct, Warehouse

Answer = TypeVar("Answer")


def steering(may_act: MayAct, asked: Asked) -> None:
    """For those who may edit the connection behind the locks; 403 for others."""
    if not may_act:
        told = f"acting on these locks needs the right to edit connection {asked.conn_id!r}"
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"{told}: ask somebody who has it, or for it")


router = APIRouter(
    prefix="/api", dependencies=[Depends(viewing), Depends(same_origin), Depends(steering)], tags=["Act"]
)

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


class Named(BaseModel):
    """Which lock, and why."""

    model_config = ConfigDict(extra="forbid")

    lock: Annotated[str, Field(min_length=1, max_length=500)]
    reason: Reason
    """Goes into the history, with the name of whoever is logged in."""


class Taken(Named):
    """Which lease is taken away."""

    token: int
    """Of the lease that the person has seen: not of one that was granted while they thought about it."""
    terminate: bool = False
    """Also end the database sessions whose guarded transaction under this lease is still open."""


@router.post("/revoke", summary="Take a lease away", dependencies=[Depends(action_logging("locks.revoke"))])
async def revoke(taken: Taken, asked: Asked, user: User) -> Done:
    """Its owner is stopped at its next renewal; its guarded writes fail at once. 409 if it is gone already."""
    person = user.get_name()
    revoked = await _act(
        asked,
        lambda engine: engine.revoke(taken.lock, person, taken.reason, token=taken.token, terminate=taken.terminate),
    )
    if not revoked and not taken.terminate:
        gone = f"nobody holds {taken.lock!r} under token {taken.token} any more: nothing was revoked"
        raise HTTPException(status.HTTP_409_CONFLICT, gone)
    return Done(done=f"revoked: {taken.lock}", tokens=[lease.token for lease in revoked])


@router.post("/pause", summary="Grant a lock to nobody", dependencies=[Depends(action_logging("locks.pause"))])
async def pause(named: Named, asked: Asked, user: User) -> Done:
    """Who holds it goes on; nobody else gets it until it is resumed. 404 if there is no such lock."""
    person = user.get_name()
    if not await _act(asked, lambda engine: engine.pause(named.lock, person, named.reason)):
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no lock {named.lock!r} to pause")
    return Done(done=f"paused: {named.lock}")


@router.post("/resume", summary="End a pause", dependencies=[Depends(action_logging("locks.resume"))])
async def resume(named: Named, asked: Asked, user: User) -> Done:
    """The line moves again. 409 if it is not paused."""
    person = user.get_name()
    if not await _act(asked, lambda engine: engine.resume(named.lock, person, named.reason)):
        raise HTTPException(status.HTTP_409_CONFLICT, f"lock {named.lock!r} is not paused")
    return Done(done=f"resumed: {named.lock}")


async def _act(asked: Warehouse, verb: Callable[[LeaseEngine], Answer]) -> Answer:
    try:
        return await asked.ask(verb)
    except ConfigurationError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from error
