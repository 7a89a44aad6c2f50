"""The document is valid, complete, and the docs say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from core.errors import KeysteadError
from functions.messages import MAX_BODY
from functions.openapi import document, markdown, possible_errors
from functions.problems import status_of
from functions.route import Route
from functions.routes import ROUTES
from functions.settings import SETTINGS
from functions.settings import markdown as settings_markdown

DOCS = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][route.template][route.method.lower()]
    return found


def test_it_is_openapi() -> None:
    validate(document())
    assert json.loads(json.dumps(document())) == document()


def test_every_route_is_in_it_and_nothing_else() -> None:
    listed = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert listed == {(route.method, route.template) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_operation(route: Route) -> None:
    found = operation(route)
    assert found["operationId"] == route.operation
    assert bool(found["security"]) == bool(route.permission)
    for permission in route.permission:
        assert permission in found["description"]
    for error in possible_errors(route):
        stated = found["responses"][str(status_of(error("")))]
        assert error.code in stated["description"] or route.operation == "health"
    if route.raw:
        assert "application/octet-stream" in found["requestBody"]["content"]
        assert "application/octet-stream" in found["responses"]["200"]["content"]


def test_examples_are_valid_requests() -> None:
    for route in ROUTES:
        for model in (route.request, route.batch):
            if model is not None and model.example and "..." not in json.dumps(dict(model.example)):
                model.model_validate(dict(model.example))


def test_models_allow_no_other_fields() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert schema["additionalProperties"] is False, name


def test_the_route_table_in_the_docs() -> None:
    assert markdown() in DOCS.read_text(encoding="utf-8"), "python -m functions.openapi --markdown prints the table"


def test_the_settings_table_in_the_docs() -> None:
    assert settings_markdown() in DOCS.read_text(encoding="utf-8"), "print(functions.settings.markdown())"
    assert len(SETTINGS) == len({setting.variable for setting in SETTINGS})


def test_every_code_in_the_docs() -> None:
    from core import errors

    text = DOCS.read_text(encoding="utf-8")
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, KeysteadError) and not issubclass(cls, errors.ProviderSignal):
            assert f"| {status_of(cls(''))} | `{cls.code}` |" in text
    assert f"{MAX_BODY:,}" in text
