"""The OpenAPI 3.1 document, made from the route table and the models.

``python -m functions.openapi`` prints it; with ``--markdown`` it prints the route table of docs/api.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from core import errors
from core.errors import InvalidRequest, KeysteadError
from functions.decoding import CONTEXT_HEADER, FOREIGN_HEADER, JSON, RAW
from functions.messages import MAX_BODY
from functions.models.answers import Problem
from functions.models.base import Model, validate
from functions.models.key_requests import PROVIDERS, KeyBody
from functions.problems import MEDIA_TYPE, status_of
from functions.route import Route
from functions.routes import ROUTES

API_VERSION = "1.0"
"""Of the interface: grows when fields are added, and its first number with the path."""
_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "Envelope encryption for multi-tenant services whose customers hold the key. Bodies are JSON of at most "
    f"{MAX_BODY} bytes; unknown fields are refused. Errors are problem documents (RFC 9457): switch on `code`."
)
_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "tenant_id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"},
    "provider": {"type": "string", "enum": list(PROVIDERS)},
    "receipt_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
_ALWAYS: tuple[type[KeysteadError], ...] = (errors.InternalError, errors.TooManyRequests)
_WITH_BODY: tuple[type[KeysteadError], ...] = (errors.PayloadTooLarge, errors.UnsupportedMediaType)
_WITH_TOKEN: tuple[type[KeysteadError], ...] = (
    errors.Unauthenticated,
    errors.AccessDenied,
    errors.StoreUnavailable,
)


@cache
def document() -> dict[str, Any]:
    """The whole document. Shared: do not change it."""
    models: list[type[Model]] = sorted([Problem, *_models()], key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "serialization" if model.__module__.endswith("answers") else "validation") for model in models],
        ref_template=_REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Keystead", "version": API_VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**definitions["$defs"], KeyBody.__name__: _key_body()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _models() -> set[type[Model]]:
    columns = ((route.request, route.batch, route.response, route.batch_response) for route in ROUTES)
    return {model for column in columns for model in column if model is not None} | {*KeyBody.variants.values()}


def _key_body() -> dict[str, Any]:
    references = {name: _REF.format(model=body.__name__) for name, body in KeyBody.variants.items()}
    return {
        "description": KeyBody.__doc__,
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "provider", "mapping": references},
    }


def _operation(route: Route) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": _description(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {**_successes(route), **_problems(route)},
        "security": [{"token": []}] if route.permission else [],
    }
    if route.request is not None:
        out["requestBody"] = {"required": _needs_body(route.request), "content": _request_content(route)}
    return out


def _description(route: Route) -> str:
    scopes = " or ".join(f"`{permission}`" for permission in route.permission)
    needs = f"Takes a token with the scope {scopes}." if scopes else "Takes no token."
    return f"{route.description} {needs}".strip()


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]} for name in route.parameters]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    properties = route.query.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema}
        for name, schema in properties.items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if not route.raw:
        return []
    context = {
        "name": CONTEXT_HEADER.title(),
        "in": "header",
        "description": f"With {RAW}: base64 or base64url of the context as a JSON object",
        "schema": {"type": "string"},
    }
    foreign = {
        "name": FOREIGN_HEADER.title(),
        "in": "header",
        "description": f"With {RAW}: as the field `foreign`",
        "schema": {"type": "string", "enum": ["true", "false"]},
    }
    return [context, foreign] if route.operation == "decrypt" else [context]


def _one_of(*models: type[Model] | None) -> dict[str, Any]:
    references = [{"$ref": _REF.format(model=model.__name__)} for model in models if model is not None]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _binary() -> dict[str, Any]:
    return {"schema": {"type": "string", "contentMediaType": RAW}}


def _needs_body(model: type[Model]) -> bool:
    """Whether a request without a body, which counts as an empty object, is refused."""
    try:
        validate(model, {})
    except InvalidRequest:
        return True
    return False


def _request_content(route: Route) -> dict[str, Any]:
    assert route.request is not None
    content: dict[str, Any] = {"schema": _one_of(route.request, route.batch)}
    examples = KeyBody.variants if route.request is KeyBody else {"one": route.request, "many": route.batch}
    shown = {name: {"value": model.example} for name, model in examples.items() if model is not None and model.example}
    if shown:
        content["examples"] = shown
    return {JSON: content, **({RAW: _binary()} if route.raw else {})}


def _successes(route: Route) -> dict[str, Any]:
    schema = _one_of(route.response, route.batch_response) if route.response else {"type": "object"}
    content: dict[str, Any] = {JSON: {"schema": schema}}
    if route.raw:
        content[RAW] = _binary()
    out = {str(route.success): {"description": route.summary, "content": content}}
    if route.creates:
        out["201"] = {"description": f"{route.summary}: it is new", "content": content}
    if route.operation == "health":
        out["503"] = {"description": "It cannot", "content": content}
    return out


def _problems(route: Route) -> dict[str, Any]:
    by_status: dict[int, set[str]] = {}
    for error in possible_errors(route):
        by_status.setdefault(status_of(error("")), set()).add(error.code)
    content = {MEDIA_TYPE: {"schema": _one_of(Problem)}}
    return {
        str(status): {"description": "Problem: " + ", ".join(sorted(codes)), "content": content}
        for status, codes in sorted(by_status.items())
    }


def possible_errors(route: Route) -> Sequence[type[KeysteadError]]:
    """Every error a route may answer: its own, and those that follow from what it reads."""
    found: set[type[KeysteadError]] = {errors.InvalidRequest, *_ALWAYS, *route.errors}
    if route.permission:
        found |= {*_WITH_TOKEN}
    if route.request is not None:
        found |= {*_WITH_BODY}
    return sorted(found, key=lambda error: error.__name__)


def markdown() -> str:
    """The route table as Markdown, for docs/api.md."""
    rows = ["| method and path | scope | body | answers | what |", "|---|---|---|---|---|"]
    for route in ROUTES:
        scopes = " or ".join(f"`{permission}`" for permission in route.permission) or "no token"
        body = ", ".join(f"`{model.__name__}`" for model in (route.request, route.batch) if model is not None)
        if route.raw:
            body += ", raw"
        success = f"{route.success}, 201" if route.creates else str(route.success)
        rows.append(f"| `{route.method} {route.template}` | {scopes} | {body or '-'} | {success} | {route.summary} |")
    return "\n".join(rows)


if __name__ == "__main__":
    printed = markdown() if "--markdown" in sys.argv[1:] else json.dumps(document(), indent=2)
    sys.stdout.write(printed + "\n")
