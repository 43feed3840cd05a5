"""Errors as problem+json (RFC 9457). None of them repeats what the caller sent."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import HTTPException, Response

KINDS = {
    "bad-request": (400, "The request is malformed"),
    "unauthorized": (401, "A key is missing or not accepted"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "The method does not exist here"),
    "timeout": (408, "The request did not arrive in time"),
    "conflict": (409, "The bundle cannot be put in force"),
    "too-large": (413, "The request is too large"),
    "invalid": (422, "The request is not valid"),
    "overloaded": (429, "Too many turns are in the works"),
    "unavailable": (503, "The service cannot decide now"),
    "late": (504, "The deadline passed"),
}
"""Kind to status and title; `type` is `/docs/problems#KIND`, relative to the service."""


class Problem(HTTPException):
    """An error to answer with."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        self.status, self.title = KINDS[kind]
        super().__init__(self.status, detail, dict(headers or {}))
        self.kind = kind
        self.more = more


def body(problem: Problem, request_id: str) -> dict[str, Any]:
    """The members of the JSON object."""
    known = {"type": f"/docs/problems#{problem.kind}", "title": problem.title, "status": problem.status}
    return {**known, "detail": problem.detail, "request_id": request_id, **problem.more}


def response(problem: Problem, request_id: str) -> Response:
    """The HTTP response."""
    # ascii: a lone surrogate in a name must not break the answer
    content = json.dumps(body(problem, request_id), ensure_ascii=True).encode()
    return Response(content, problem.status, problem.headers, "application/problem+json")


def of_validation(errors: Iterable[Mapping[str, Any]], says_json: bool = True) -> Problem:
    """What is wrong with the fields of a request: where and what, each once, never the value.

    Args:
        says_json: whether the request's Content-Type is of JSON; the body of any other is not looked into.
    """
    errors = list(errors)
    if not says_json and any(tuple(e.get("loc", ())) == ("body",) for e in errors):
        return Problem("bad-request", "the body is not said to be JSON; send it with `Content-Type: application/json`")
    if any(e.get("type") == "json_invalid" for e in errors):
        return Problem("bad-request", "the body is no JSON; expected one object in UTF-8; were quotes lost in a shell?")
    known = dict.fromkeys((tuple(_place(p) for p in e.get("loc", ())), _what(e)) for e in errors)
    found = [{"at": list(place), "problem": what} for place, what in known]
    return Problem("invalid", "some fields are not valid; see errors", errors=found[:20])


_PLAINLY = {
    "extra_forbidden": "there is no such field; /docs lists those of every route",
    "missing": "this is missing",
    "model_attributes_type": "expected a JSON object",
    "model_type": "expected a JSON object",
    "dict_type": "expected a JSON object",
}


def _what(error: Mapping[str, Any]) -> str:
    return _PLAINLY.get(str(error.get("type")), str(error.get("msg", ""))[:200])


def of_status(status: int, headers: Mapping[str, str]) -> Problem:
    """The problem that stands for a bare status of the framework, with its headers."""
    kind = next((k for k, (of, _) in KINDS.items() if of == status), "bad-request")
    hints = {
        "not-found": "no such route; `POST /v1/rewrite` decides a turn; /docs lists every route",
        "method-not-allowed": f"this route takes {headers.get('Allow', 'another method')}; /docs lists every route",
    }
    return Problem(kind, hints.get(kind, KINDS[kind][1]), headers)


def _place(part: Any) -> str | int:
    return part if isinstance(part, int) else str(part)[:64]


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "at": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                    "problem": {"type": "string"},
                },
            },
        },
    },
}


def documented(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these kinds."""
    return {
        KINDS[kind][0]: {
            "description": KINDS[kind][1],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for kind in kinds
    }
