"""The FastAPI application: routes over one `Service`."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from serving import admin, health, problems, reference, routes, schemas
from serving.edge import Edge, request_id
from serving.keys import Keyring
from serving.problems import Problem
from serving.service import Service

API_VERSION = "1.0.0"
DESCRIPTION = """\
Decides whether a user's request should be rewritten into one that is known to work. Whatever goes wrong, use the
request as it is: `rewrite` null and every error mean just that.

Problems are `application/problem+json`; none repeats what was sent.
"""


def create_app(service: Service, keyring: Keyring, page: APIRouter | None = None) -> FastAPI:
    """The application of one service.

    Args:
        page: what is served at `/` besides the API, if anything: an operator's page.
    """
    app = FastAPI(
        title="Reprise",
        version=API_VERSION,
        description=DESCRIPTION,
        responses={},
        openapi_url=None,  # FastAPI's own route for it is counted by no route; reference.py has one that is
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.keyring = keyring
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.include_router(health.router)
    app.include_router(reference.router)
    app.include_router(routes.router, dependencies=[Depends(needs(keyring, "use"))])
    app.include_router(admin.router, dependencies=[Depends(needs(keyring, "admin"))])
    if page is not None:
        app.include_router(page)
    _describe_problems(app)
    config = service.config
    local = config.is_loopback and not keyring.has("use")
    app.add_middleware(
        Edge,
        metrics=service.metrics,
        max_body_bytes=config.max_body_bytes,
        body_timeout_s=config.body_timeout_s,
        local_hosts_only=local,
        is_closing=lambda: service.draining,
    )
    return app


def needs(keyring: Keyring, role: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that lets a request in with a key of that role; `use` is open where no such key exists."""

    async def check(request: Request) -> None:
        if role == "use" and keyring.path is None:
            return
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if keyring.name_of(secret, role) is None:
            how = "send it as `Authorization: Bearer KEY`; `reprise serve-key` makes one"
            raise Problem("unauthorized", f"this needs a key for {role!r}; {how}", {"WWW-Authenticate": "Bearer"})

    return check


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = problems.of_validation(error.errors(), _says_json(request.headers.get("content-type", "")))
    return problems.response(found, request_id.get())


def _says_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = error if isinstance(error, Problem) else problems.of_status(error.status_code, error.headers or {})
    return problems.response(problem, request_id.get())


def _describe_problems(app: FastAPI) -> None:
    """Put the shared schemas in, and take FastAPI's own form of 422 out."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = plain()
            shared = made.setdefault("components", {}).setdefault("schemas", {})
            shared["Problem"] = problems.SCHEMA
            for name in ("HTTPValidationError", "ValidationError"):
                shared.pop(name, None)
            for model in (schemas.RewriteRequest, schemas.RewriteResponse):
                found = model.model_json_schema(ref_template="#/components/schemas/{model}")
                for name, inner in found.pop("$defs", {}).items():
                    shared.setdefault(name, inner)
                shared.setdefault(model.__name__, found)
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]
