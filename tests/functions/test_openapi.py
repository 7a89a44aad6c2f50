"""The document is valid, complete, and the docs say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from core.errors import InvalidRequest, KeysteadError
from functions.messages import MAX_BODY
from functions.models.base import validate as decode
from functions.models.key_requests import PROVIDERS, KeyBody
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
        for model in (route.request, route.batch, *KeyBody.variants.values()):
            if model is not None and model.example and "..." not in json.dumps(dict(model.example)):
                model.model_validate(dict(model.example))


def test_whether_a_body_may_be_left_out() -> None:
    stated = {route.operation: operation(route)["requestBody"]["required"] for route in ROUTES if route.request}
    optional = {"create_tenant", "check_key", "suspend_key", "resume_key", "rotate", "new_data_key"}
    assert stated == {name: name not in optional for name in stated}


def test_models_allow_no_other_fields() -> None:
    for name, schema in document()["components"]["schemas"].items():
        for part in (schemas(reference["$ref"]) for reference in schema.get("oneOf", ())):
            assert part["additionalProperties"] is False, name
        assert "oneOf" in schema or schema["additionalProperties"] is False, name


def schemas(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def test_a_key_lies_in_one_cloud_or_the_other() -> None:
    body = schemas("KeyBody")
    mapping = body["discriminator"]["mapping"]
    assert {name: schemas(reference)["properties"]["provider"]["const"] for name, reference in mapping.items()} == {
        name: name for name in PROVIDERS
    }
    assert [part["$ref"] for part in body["oneOf"]] == [*mapping.values()]
    provider = operation(next(route for route in ROUTES if route.operation == "key_setup"))["parameters"][1]
    assert provider["schema"]["enum"] == [*mapping]


@pytest.mark.parametrize("name", ["configure_key", "validate_key"])
def test_both_clouds_are_shown(name: str) -> None:
    """A tool that knows only the document tells the same bodies from others as the service does."""
    found = operation(next(route for route in ROUTES if route.operation == name))["requestBody"]
    content = found["content"]["application/json"]
    assert found["required"] is True
    assert [*content["examples"]] == [*PROVIDERS]
    checker = OAS31Validator({**content["schema"], "components": document()["components"]})
    aws, azure = (dict(content["examples"][cloud]["value"]) for cloud in PROVIDERS)
    for good in (aws, azure):
        checker.validate(good)
        KeyBody.model_validate(good)
    for bad in (
        {},
        {**aws, "provider": "azure_key_vault"},
        {**azure, "provider": "aws_kms"},
        {**azure, "key_arn": aws["key_arn"]},
        {**aws, "vault_url": azure["vault_url"]},
        {**aws, "provider": "gcp"},
        {member: value for member, value in azure.items() if member != "entra_tenant"},
        {member: value for member, value in azure.items() if member != "key_name"},
        {**azure, "key_name": ""},
    ):
        assert not checker.is_valid(bad), bad
        with pytest.raises(InvalidRequest):
            decode(KeyBody, bad)


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
