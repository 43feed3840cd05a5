"""The operator's routes, under keys of their own: forget, block, reload, roll back, drain."""

from typing import Any

from fastapi import APIRouter, Path, Request
from starlette.convertors import Convertor, register_url_convertor

from serving.holder import BadBundle, InForce, NoSuchBundle
from serving.problems import Problem, documented
from serving.routes import service_of
from serving.schemas import BlockRequest, DrainRequest, PinRequest, ReloadRequest
from serving.service import Service


class _Whole(Convertor[str]):
    """The rest of a path whatever is in it: `path` stops at a line break, and such a user could not be forgotten."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("whole", _Whole())
router = APIRouter(tags=["operate"])

_COMMON = ("bad-request", "unauthorized", "timeout", "too-large", "invalid", "unavailable")


@router.delete("/v1/users/{user_id:whole}", responses=documented(*_COMMON), summary="Forget a user")
async def forget(request: Request, user_id: str = Path(min_length=1, max_length=200)) -> dict[str, Any]:
    """From the next turn on nothing of the user's is used; the exposure log is cleaned; the next build leaves them out.

    Forgetting somebody unknown is no error: it leaves no trace of who is known.
    """
    try:
        return {"epoch": await service_of(request).forget(user_id)}
    except OSError as error:
        raise Problem("unavailable", "the order could not be forced to disk, and is not in force") from error


@router.get("/v1/blocklist", responses=documented("unauthorized", "unavailable"), summary="List the blocked texts")
async def blocked(request: Request) -> dict[str, Any]:
    """The texts that may not come out."""
    service = service_of(request)
    service.heed_orders()
    return {"blocked": sorted(service.tombstones.hidden.blocked)}


@router.post("/v1/blocklist", responses=documented(*_COMMON), summary="Block a text")
async def block(body: BlockRequest, request: Request) -> dict[str, Any]:
    """From the next turn on the text never comes out, for anybody, until its block is lifted."""
    try:
        return {"epoch": await service_of(request).block(body.text, body.blocked)}
    except OSError as error:
        raise Problem("unavailable", "the order could not be forced to disk, and is not in force") from error
    except ValueError as error:
        raise Problem("invalid", "nothing is left of the text after normalising") from error


@router.get("/v1/pins", responses=documented("unauthorized", "unavailable"), summary="List the pinned pairs")
async def pinned(request: Request) -> dict[str, Any]:
    """The texts that are always rewritten, and to what."""
    service = service_of(request)
    service.heed_orders()
    return {"pins": dict(sorted(service.tombstones.hidden.pinned.items()))}


@router.post("/v1/pins", responses=documented(*_COMMON), summary="Pin a pair")
async def pin(body: PinRequest, request: Request) -> dict[str, Any]:
    """From the next turn on the text is rewritten to the target, whatever the bundle would decide, as long as the
    target is in force for everybody and not blocked. Held-out users are not rewritten all the same.
    """
    try:
        return {"epoch": await service_of(request).pin(body.source, body.target)}
    except OSError as error:
        raise Problem("unavailable", "the order could not be forced to disk, and is not in force") from error
    except ValueError as error:
        raise Problem("invalid", "a pin needs two texts that differ after normalising") from error


@router.post("/admin/reload", responses=documented(*_COMMON, "not-found", "conflict"), summary="Load a bundle")
async def reload(request: Request, body: ReloadRequest | None = None) -> dict[str, Any]:
    """Verify, open and warm a bundle beside the one in force, then swap. A bad one changes nothing.

    Naming a bundle pins it: the registry's champion is followed again after a reload that names none.
    """
    return await _swapped(service_of(request), body.bundle if body is not None else None)


@router.post("/admin/rollback", responses=documented(*_COMMON, "not-found", "conflict"), summary="Go back")
async def rollback(request: Request) -> dict[str, Any]:
    """Put the previous bundle in force; it is still open, so this is immediate."""
    service = service_of(request)
    try:
        return _named(service, await service.holder.rollback())
    except NoSuchBundle as error:
        raise Problem("not-found", str(error)) from error
    except BadBundle as error:
        raise Problem("conflict", str(error)) from error


@router.post("/admin/drain", responses=documented(*_COMMON), summary="Ask for no more requests")
async def drain(request: Request, body: DrainRequest | None = None) -> dict[str, Any]:
    """`/readyz` says no from now on; requests that come are answered all the same."""
    service = service_of(request)
    service.draining = body.draining if body is not None else True
    return {"draining": service.draining, "in_flight": service.pool.waiting}


async def _swapped(service: Service, name: str | None) -> dict[str, Any]:
    try:
        return _named(service, await service.holder.reload(name))
    except NoSuchBundle as error:
        raise Problem("not-found", str(error)) from error
    except BadBundle as error:
        raise Problem("conflict", str(error)) from error


def _named(service: Service, found: InForce) -> dict[str, Any]:
    service.swapped()
    previous = service.holder.previous
    return {"bundle": found.bundle_id, "previous": previous.bundle_id if previous else None}
