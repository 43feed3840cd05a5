"""The API described for people, at `/docs`: made from the OpenAPI description, with nothing from elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from serving.problems import KINDS

router = APIRouter(include_in_schema=False)
_template = Environment(
    loader=PackageLoader("serving.page", "templates"), autoescape=True, undefined=StrictUndefined
).get_template("reference.html.jinja")


@router.get("/docs")
@router.get("/docs/problems")
def reference(request: Request) -> HTMLResponse:
    """Every route with its fields, and every problem; one page for both addresses."""
    description = request.app.openapi()
    html = _template.render(title=description["info"]["title"], operations=list(operations(description)), kinds=KINDS)
    return HTMLResponse(html, headers={"Content-Security-Policy": "default-src 'none'; style-src 'self'"})


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The API described for programs."""
    return JSONResponse(request.app.openapi())


def operations(description: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """method, path, summary, text, fields and answers of every operation, in the order of the description."""
    for path, methods in description["paths"].items():
        for method, found in methods.items():
            body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            named = [
                {"name": p["name"], "type": type_of(p["schema"]), "required": p.get("required", False), "text": p["in"]}
                for p in found.get("parameters", [])
            ]
            yield {
                "method": method.upper(),
                "path": path,
                "summary": found.get("summary", ""),
                "text": found.get("description", ""),
                "fields": [*named, *fields(body, description)],
                "answers": {status: answer.get("description", "") for status, answer in found["responses"].items()},
            }


def fields(schema: Mapping[str, Any], description: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, type, whether it is required, and description of every field of an object."""
    whole = _resolved(schema, description)
    required = set(whole.get("required", ()))
    return [
        {"name": name, "type": type_of(inner), "required": name in required, "text": inner.get("description", "")}
        for name, inner in whole.get("properties", {}).items()
    ]


def type_of(schema: Mapping[str, Any]) -> str:
    """A schema's type in words: `string or null`, `list of Slot`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(type_of(inner) for inner in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _resolved(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = description["components"]["schemas"][str(schema["$ref"]).rsplit("/", 1)[-1]]
    return found
