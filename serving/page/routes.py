"""The page's routes: what is shown, and the levers, each on record."""

import hmac
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from rewrite.disk import append_line, read_lines
from rewrite.registry import Registry
from rewrite.text import normalise
from rewrite.ties import tied_in_words
from rewrite.turn import Turn
from serving.holder import BadBundle, NoSuchBundle
from serving.page import books, figures, trial
from serving.page.session import Sessions, Visitor
from serving.problems import Problem
from serving.routes import service_of

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
PAGES = {
    "/": "Overview",
    "/page/rewrites": "Rewrites",
    "/page/trie": "Trie",
    "/page/try": "Try it",
    "/page/experiment": "Experiment",
    "/page/runs": "Runs",
    "/page/bundles": "Bundles",
    "/page/nlu": "NLU queue",
}
TEXT_CHARS = 500

# utterances are anybody's words: everything is escaped, nothing is marked safe
_templates = Environment(loader=PackageLoader("serving.page", "templates"), autoescape=True, undefined=StrictUndefined)
_templates.filters["when"] = lambda seconds: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
_templates.filters["percent"] = lambda value, digits=1: "–" if value is None else f"{100 * value:.{digits}f} %"
_templates.filters["number"] = lambda value, form=".4g": "–" if value is None else f"{value:{form}}"
_templates.filters["tied"] = tied_in_words


async def form(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent, each cut to TEXT_CHARS."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields = parse_qs(body, keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise Problem("bad-request", "that is no form of this page") from error
    return {name: values[-1][:TEXT_CHARS] for name, values in fields.items()}


Fields = Annotated[dict[str, str], Depends(form)]


def sessions(request: Request) -> Sessions:
    """The sessions of this application, made at its first page."""
    found = getattr(request.app.state, "page_sessions", None)
    if found is None:
        found = request.app.state.page_sessions = Sessions(request.app.state.keyring)
    return found


def visitor(request: Request) -> Visitor:
    """Who looks; sent to the door where they may not."""
    found = sessions(request).visitor(request)
    if not found.may_look:
        raise _ToTheDoor("unauthorized", "a key is needed", {"Location": "/page/login"})
    return found


class _ToTheDoor(Problem):
    """Answered by browsers with the login page."""

    def __init__(self, kind: str, detail: str, headers: dict[str, str]) -> None:
        super().__init__(kind, detail, headers)
        self.status = 303


Who = Annotated[Visitor, Depends(visitor)]


async def operator(who: Who, fields: Fields) -> Visitor:
    """Who moves a lever: an admin, from a form of ours."""
    if not who.may_act or not hmac.compare_digest(fields.get("token", "").encode(), who.token.encode()):
        raise Problem("unauthorized", "this needs a session opened with an admin key")
    return who


Operator = Annotated[Visitor, Depends(operator)]
router = APIRouter(include_in_schema=False)


def show(request: Request, who: Visitor, template: str, status: int = 200, **facts: Any) -> HTMLResponse:
    """One page, or, asked for by htmx, its main part."""
    service = service_of(request)
    partial = request.headers.get("hx-request") == "true" and request.headers.get("hx-boosted") != "true"
    html = _templates.get_template(f"{template}.html.jinja").render(
        pages=PAGES,
        here=request.url.path,
        who=who,
        keyed=request.app.state.keyring.path is not None,
        registry=service.config.registry,
        base="part.html.jinja" if partial else "base.html.jinja",
        said=request.query_params.get("said", "")[:200],
        **facts,
    )
    return HTMLResponse(html, status, HEADERS)


@router.get("/")
def overview(request: Request, who: Who) -> Response:
    """How it goes."""
    service = service_of(request)
    runs = books.runs(service.config.registry)
    measured = next((run["experiment"] for run in runs if run.get("experiment")), None)
    return show(
        request,
        who,
        "overview",
        champion=service.holder.current,
        error=service.holder.error,
        live=figures.live(service.metrics.registry),
        runs=runs,
        measured=measured,
        course=figures.course(runs),
        under_way=books.under_way(service.config.registry),
        state=service.state(),
    )


@router.get("/page/rewrites")
def rewrites(request: Request, who: Who, q: str = "") -> Response:
    """Pairs of the bundle in force, with what became of them."""
    service = service_of(request)
    known = _book(request)
    runs = books.runs(service.config.registry)
    measured = next((run["experiment"] for run in runs if run.get("experiment")), None)
    results = {(p["source"], p["target"]): p for p in (measured or {}).get("pairs", [])}
    found = known.search(q[:TEXT_CHARS]) if known is not None else []
    hidden = service.tombstones.hidden
    return show(
        request, who, "rewrites", q=q, found=found, results=results, blocked=sorted(hidden.blocked), known=known,
        pinned=dict(sorted(hidden.pinned.items())),
        audit=list(reversed(list(read_lines(_audit(request)))))[:30],
    )  # fmt: skip


@router.get("/page/trie")
def trie(request: Request, who: Who, prefix: str = "", text: str = "") -> Response:
    """What may come out, word by word, and why something cannot."""
    known = _book(request)
    prefix, text = normalise(prefix)[:TEXT_CHARS], normalise(text)[:TEXT_CHARS]
    blocked = service_of(request).tombstones.hidden.blocked
    return show(
        request, who, "trie", known=known, prefix=prefix, text=text,
        next_words=known.continuations(prefix) if known is not None else [],
        why=books.why_not(known, text, frozenset(blocked)) if known is not None and text else [],
    )  # fmt: skip


@router.get("/page/try")
async def attempt(
    request: Request, who: Who, text: str = "", user: str = "", earlier: str = "", confidence: float | None = None
) -> Response:
    """One text through the bundle in force; nothing is recorded."""
    answer, importance = None, []
    if text.strip():
        turns = tuple(line for line in earlier.splitlines() if line.strip())[-3:]
        turn = Turn(text[:TEXT_CHARS], user_id=user or None, turns=turns, asr_confidence=confidence)
        answer = await trial.attempt(service_of(request), turn)
        importance = await trial.word_importance(service_of(request), turn, answer) if answer is not None else []
    given = {"text": text, "user": user, "earlier": earlier, "confidence": confidence}
    return show(request, who, "try", answer=answer, importance=importance, given=given)


@router.get("/page/experiment")
def experiment(request: Request, who: Who) -> Response:
    """Treated against held out, and challenger against champion."""
    service = service_of(request)
    runs = books.runs(service.config.registry)
    run = next((run for run in runs if run.get("experiment")), None)
    return show(request, who, "experiment", run=run, trial=service.trial.as_dict())


@router.get("/page/runs")
def all_runs(request: Request, who: Who) -> Response:
    """Every run with its verdict."""
    registry = service_of(request).config.registry
    return show(request, who, "runs", runs=books.runs(registry), under_way=books.under_way(registry))


@router.get("/page/runs/{run}")
def one_run(request: Request, who: Who, run: str) -> Response:
    """One run's gates."""
    found = next((r for r in books.runs(service_of(request).config.registry) if r["run"] == run), None)
    return show(request, who, "run", 200 if found else 404, run=found)


@router.get("/page/bundles")
def bundles(request: Request, who: Who, one: str = "previous", other: str = "champion") -> Response:
    """Every bundle, and what changed from one to another."""
    root = service_of(request).config.registry
    listed = books.bundles(root)
    change = None
    if root is not None:
        try:
            registry = Registry(root)
            change = books.difference(str(registry.path(one)), str(registry.path(other)))
        except ValueError:
            change = None
    return show(
        request, who, "bundles", bundles=listed, one=one, other=other, change=change, history=books.history(root)
    )


@router.get("/page/nlu")
def nlu(request: Request, who: Who) -> Response:
    """What the selector picked for retraining in the last run that selected."""
    root = service_of(request).config.registry
    files = sorted(root.glob("steps/select-*/picks.jsonl"), key=lambda p: p.stat().st_mtime) if root is not None else []
    picks = list(read_lines(files[-1]))[:200] if files else []
    return show(request, who, "nlu", picks=picks)


@router.get("/page/login")
def login(request: Request) -> Response:
    """The door."""
    return show(request, sessions(request).visitor(request), "login", wrong=False)


@router.post("/page/login")
def enter(request: Request, fields: Fields) -> Response:
    """Open a session with a key."""
    response = RedirectResponse("/", 303, HEADERS)
    if sessions(request).enter(fields.get("key", "").strip(), response, request.url.scheme == "https"):
        return response
    return show(request, Visitor("", "none"), "login", 401, wrong=True)


@router.post("/page/logout")
def leave(request: Request) -> Response:
    """Close the session."""
    response = RedirectResponse("/page/login", 303, HEADERS)
    sessions(request).leave(response)
    return response


@router.post("/page/block")
async def block(request: Request, who: Operator, fields: Fields) -> Response:
    """Block a text, or lift its block, with a reason."""
    text, blocked = fields.get("text", ""), not fields.get("lift")
    try:
        await service_of(request).block(text, blocked)
    except (OSError, ValueError) as error:
        raise Problem("invalid", "the block could not be recorded") from error
    _record(request, who, "block" if blocked else "lift", text, fields)
    return _back("/page/rewrites", "blocked" if blocked else "allowed again")


@router.post("/page/pin")
async def pin(request: Request, who: Operator, fields: Fields) -> Response:
    """Always make a rewrite, or leave it to the bundle again, with a reason."""
    source, target = fields.get("source", ""), fields.get("target", "")
    lifted = bool(fields.get("lift"))
    try:
        await service_of(request).pin(source, None if lifted else target)
    except (OSError, ValueError) as error:
        raise Problem("invalid", "the pin could not be recorded") from error
    _record(request, who, "unpin" if lifted else "pin", f"{source} → {target}", fields)
    return _back("/page/rewrites", "no longer pinned" if lifted else "pinned")


@router.post("/page/promote")
async def promote(request: Request, who: Operator, fields: Fields) -> Response:
    """Make a bundle the champion; the service follows at once."""
    service, bundle = service_of(request), fields.get("bundle", "")
    if service.config.registry is None:
        raise Problem("conflict", "a single bundle is served; there is no registry")
    try:
        Registry(service.config.registry).promote(bundle, by=who.name, reason=fields.get("reason", ""))
        await service.holder.reload()
    except (NoSuchBundle, BadBundle, ValueError) as error:
        raise Problem("conflict", "that bundle cannot be put in force") from error
    service.swapped()
    _record(request, who, "promote", bundle, fields)
    return _back("/page/bundles", "promoted")


@router.post("/page/rollback")
async def rollback(request: Request, who: Operator, fields: Fields) -> Response:
    """Back to the previous bundle, at once."""
    service = service_of(request)
    try:
        found = await service.holder.rollback()
    except (NoSuchBundle, BadBundle) as error:
        raise Problem("conflict", "there is nothing to go back to") from error
    service.swapped()
    _record(request, who, "rollback", found.bundle_id, fields)
    return _back("/page/bundles", "rolled back")


@router.get("/page/static/{name}")
def static(name: str) -> Response:
    """Our own files and the vendored ones; their licences lie beside them."""
    path = STATIC / name
    if path.name != name or not path.is_file():
        raise Problem("not-found", "no such file")
    kind = TYPES.get(path.suffix, "text/plain")
    return FileResponse(path, media_type=kind, headers={**HEADERS, "Cache-Control": "max-age=3600"})


def _book(request: Request) -> books.Book | None:
    current = service_of(request).holder.current
    return books.book(current.path) if current is not None else None


def _audit(request: Request) -> Path:
    return Path(service_of(request).config.state) / "audit.jsonl"


def _record(request: Request, who: Visitor, did: str, what: str, fields: dict[str, str]) -> None:
    reason = fields.get("reason", "")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    append_line(_audit(request), {"at": at, "by": who.name, "did": did, "what": what, "reason": reason})


def _back(path: str, said: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode({'said': said})}", 303, HEADERS)
