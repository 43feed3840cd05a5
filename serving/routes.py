"""The routes of the assistant: rewrite, many at once, feedback, bundles."""

import asyncio
import math
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from serving import problems
from serving.edge import request_id
from serving.problems import Problem, documented
from serving.schemas import BatchRequest, BatchResponse, FeedbackRequest, RewriteRequest, RewriteResponse
from serving.service import Service, Verdict
from serving.tracing import span

router = APIRouter(prefix="/v1", tags=["rewrite"])

_COMMON = ("bad-request", "unauthorized", "timeout", "too-large", "invalid", "unavailable")


def service_of(request: Request) -> Service:
    """The service behind this application."""
    found: Service = request.app.state.service
    return found


@router.post(
    "/rewrite",
    response_model=RewriteResponse,
    responses=documented(*_COMMON, "overloaded", "late"),
    summary="Decide one turn",
)
async def rewrite(body: RewriteRequest, request: Request) -> Response:
    """What to do with one turn. `rewrite` null means: leave it alone. So does every error."""
    return _json(await _decided(service_of(request), body, request_id.get()))


@router.post(
    "/rewrite:batch",
    response_model=BatchResponse,
    responses=documented(*_COMMON),
    summary="Decide up to 32 turns",
)
async def rewrite_batch(body: BatchRequest, request: Request) -> Response:
    """Each turn as if alone: one that is not valid, late or refused gets a problem in its place."""
    service, own = service_of(request), request_id.get()
    results = await asyncio.gather(
        *(_one_of_many(service, raw, f"{own}.{place}") for place, raw in enumerate(body.requests))
    )
    return _json({"results": results})


@router.post(
    "/feedback",
    status_code=202,
    responses={202: {"description": "Recorded"}, **documented(*_COMMON)},
    summary="Say what became of a turn",
)
async def feedback(body: FeedbackRequest, request: Request) -> Response:
    """Recorded beside the decisions, and joined to them when the log is next mined.

    An id is not looked up: one that no decision has is recorded, too, and joins nothing.
    """
    if body.request_id is None and body.interaction_id is None:
        raise Problem("invalid", "name the turn: `request_id` of the rewrite's answer, or your own `interaction_id`")
    if body.status is None and body.interrupted is None and body.dwell_s is None:
        raise Problem("invalid", "say what became of the turn: one of `status`, `interrupted` and `dwell_s`, or more")
    if not service_of(request).feedback(body.model_dump(exclude_none=True)):
        raise Problem("unavailable", "the feedback could not be recorded")
    return _json({"recorded": True, "request_id": request_id.get()}, 202)


@router.get("/bundles", responses=documented("unauthorized", "unavailable"), summary="List the bundles")
async def bundles(request: Request) -> dict[str, Any]:
    """Every bundle known, its aliases, and which one is in force."""
    return {"bundles": service_of(request).holder.listed()}


async def _decided(service: Service, body: RewriteRequest, own: str) -> dict[str, Any]:
    with span("rewrite", request_id=own) as traced:
        verdict = await service.decide(body.turn(time.time()), own, body.deadline_ms, body.explain)
        traced.set_attribute("reprise.reason", verdict.reason)
        traced.set_attribute("reprise.bundle", verdict.bundle)
    return in_json(verdict, body.explain)


async def _one_of_many(service: Service, raw: dict[str, Any], own: str) -> dict[str, Any]:
    try:
        return await _decided(service, RewriteRequest.model_validate(raw), own)
    except ValidationError as error:
        return problems.body(problems.of_validation(error.errors(include_input=False, include_url=False)), own)
    except Problem as problem:
        return problems.body(problem, own)


def in_json(verdict: Verdict, explain: bool) -> dict[str, Any]:
    """A verdict as it is answered."""
    answer = verdict.answer
    found: dict[str, Any] = {
        "rewrite": verdict.rewrite,
        "source": verdict.source,
        "confidence": round(verdict.confidence, 6),
        "reason": verdict.reason,
        "shed": answer.shed,
        "bundle": verdict.bundle,
        "request_id": verdict.request_id,
        "timings_ms": {
            "total": round(verdict.total_ms, 2),
            "deciding": round(answer.took_ms, 2),
            "model": round(answer.model_ms, 2),
        },
    }
    if explain:
        found["candidates"] = [_finite(dict(candidate)) for candidate in answer.candidates]
    return found


def _finite(value: Any) -> Any:
    """JSON has no NaN: a feature that is missing is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return value


def _json(content: dict[str, Any], status: int = 200) -> Response:
    import json

    return Response(json.dumps(content, separators=(",", ":")).encode(), status, media_type="application/json")
