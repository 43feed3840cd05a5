"""Whether the service lives, whether it is ready, what it is, and its metrics. These need no key."""

import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request, Response

from serving.problems import Problem, documented
from serving.routes import service_of
from serving.service import Service

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Is it alive?")
async def livez() -> dict[str, str]:
    """Answers as long as the process does; restart it where this fails."""
    return {"status": "ok"}


@router.get("/readyz", responses=documented("unavailable"), summary="Should requests be sent here?")
async def readyz(request: Request) -> dict[str, Any]:
    """A bundle is loaded and warm, workers make progress, and it is not draining."""
    service = service_of(request)
    if not service.ready:
        raise Problem("unavailable", _why_not(service), checks=service.state())
    return {"status": "ok", "checks": service.state()}


@router.get("/health", responses=documented("unavailable"), summary="Ready, in detail")
async def health(request: Request) -> dict[str, Any]:
    """As `/readyz`, with what does not stop it from being ready."""
    service = service_of(request)
    holder, exposures = service.holder, service.exposures
    more = {
        "bundle": holder.current.bundle_id if holder.current else None,
        "bundle_error": holder.error,
        "in_flight": service.pool.waiting,
        "workers_ready": service.pool.seats_ready,
        "worker_deaths": service.pool.deaths,
        "exposures_failing": exposures.failing,
    }
    if not service.ready:
        raise Problem("unavailable", _why_not(service), None, checks=service.state(), **more)
    return {"status": "ok", "checks": service.state(), **more}


def _why_not(service: Service) -> str:
    """Why the service is not ready; /health has told as much to anybody."""
    causes = {
        "loaded": service.holder.error or "no bundle is loaded yet",
        "workers": "no worker is ready",
        "progress": "a turn has been in the works for too long",
        "accepting": "draining",
    }
    found = "; ".join(causes[name] for name, well in service.state().items() if not well)
    return f"not ready: {found}" if found else "not ready a moment ago"


@router.get("/info", summary="What is it?")
async def info(request: Request) -> dict[str, Any]:
    """Versions and settings; nothing secret."""
    service, config = service_of(request), service_of(request).config
    current, previous = service.holder.current, service.holder.previous
    return {
        "name": "reprise",
        "version": _version(),
        "api_version": request.app.version,
        "bundle": current.bundle_id if current else None,
        "bundle_since": current.since if current else None,
        "previous": previous.bundle_id if previous else None,
        "pinned": service.holder.pinned,
        "experiment": service.trial.as_dict(),
        "data_window": current.facts.get("data_window") if current else None,
        "deletion_epoch": current.epoch if current else None,
        "tombstone_epoch": service.tombstones.hidden.epoch,
        "uptime_s": round(time.time() - service.started_s, 1),
        "holdout_share": config.holdout_share,
        "deadline_ms": config.deadline_ms,
        "places": config.places,
        "workers": config.workers,
        "threads": config.threads,
        "precision": config.precision,
    }


@router.get("/metrics", summary="For Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """The exposition format."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _version() -> str:
    try:
        return version("reprise")
    except PackageNotFoundError:
        return "unknown"
