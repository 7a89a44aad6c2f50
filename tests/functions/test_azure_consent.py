"""Where Entra sends a tenant's administrator: only a link of ours leads there, and nobody learns of tenants by it."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from core.bootstrap import Application, Config, build
from core.bootstrap.parts import AzureConfig
from core.domain.consent import make_state
from core.domain.tenants import MAC_FIELD, RECORD, SYSTEM
from core.errors import StoreUnavailable
from functions.handlers import Handler
from functions.identity import Identity
from functions.messages import Request, Response
from functions.models.key_answers import Consent
from tests.functions import tokens
from tests.functions.asgi import call
from tests.functions.exchange import code, ok, request
from tests.functions.fakes import ENTRA

OTHER = "99998888-3333-4444-5555-666677778888"
GRANTED = {"tenant": ENTRA, "admin_consent": "True", "scope": "https://vault.azure.net/.default"}
DENIED = {
    "tenant": ENTRA,
    "admin_consent": "True",
    "error": "consent_required",
    "error_description": "AADSTS65004: The resource owner or authorization server denied the request.\r\nTrace ID: x",
    "error_uri": "https://login.microsoftonline.com/error?code=65004",
    "error_subcode": "cancel",
}


@pytest.fixture
def external_id(application: Application) -> str:
    """Acme's; beta has none yet."""
    return application.keystead._parts.setup_kits.with_external_id("acme").external_id


def landed(handler: Handler, state: str | None, **query: str) -> Response:
    given = query if state is None else {"state": state, **query}
    return handler.handle(Request("GET", "/v1/azure/consent", urlencode(given), {}, b"", request_id="request-1"))


def stored(application: Application) -> list[Any]:
    parts = application.keystead._parts
    documents = [parts.tenant_store.read(tenant, RECORD) for tenant in ("acme", "beta")]
    return [*documents, *(list(parts.audit_log.read(chain, limit=99)) for chain in ("acme", "beta", SYSTEM))]


@pytest.mark.parametrize("bound", [ENTRA, ""])
@pytest.mark.parametrize("answered", [ENTRA, ENTRA.upper()])
def test_an_administrator_who_consented_is_told_what_comes_next(
    handler: Handler, application: Application, external_id: str, bound: str, answered: str
) -> None:
    before = stored(application)
    response = landed(handler, make_state("acme", external_id, bound), **{**GRANTED, "tenant": answered})
    found = ok(response)
    Consent.model_validate(found)
    assert found == {"tenant_id": "acme", "entra_tenant": ENTRA, "consented": True, "next": found["next"]}
    assert "validate" in found["next"]
    assert external_id not in response.body.decode()
    assert stored(application) == before


@pytest.mark.parametrize(
    "query", [DENIED, {"tenant": ENTRA}, {"tenant": ENTRA, "admin_consent": "False"}, {**GRANTED, "error": "x"}]
)
def test_an_administrator_who_did_not_is_told_how_to_try_again(
    handler: Handler, external_id: str, query: dict[str, str]
) -> None:
    found = ok(landed(handler, make_state("acme", external_id, ENTRA), **query))
    assert (found["consented"], found["entra_tenant"]) == (False, ENTRA)
    assert "again" in found["next"]
    assert "AADSTS" not in json.dumps(found)


@pytest.mark.parametrize("entra_tenant", [ENTRA, ""])
def test_the_link_of_the_setup_kit_leads_here(tmp_path: Path, entra_tenant: str) -> None:
    """From the kit that a tenant's key officer asks for to the page that its administrator ends on."""
    azure = AzureConfig(
        client_id=OTHER, home_tenant=OTHER, client_secret="x", redirect_url="https://keys.example/v1/azure/consent"
    )
    built = build(Config(data_dir=tmp_path / "data", store="memory", azure=azure))
    built.tenants.create("acme", "")
    handler = Handler(built.keystead, Identity([tokens.issuer()]))
    query = f"?entra_tenant={entra_tenant}" if entra_tenant else ""
    kit = ok(handler.handle(request("GET", f"/v1/tenants/acme/key/setup/azure_key_vault{query}")))
    (link,) = {
        found.group()
        for step in kit["steps"]
        for command in step["commands"]
        if (found := re.search(r"https://login[^\"' ]+adminconsent[^\"' ]+", command))
    }
    parts = urlsplit(link)
    given = parse_qs(parts.query)
    assert given["redirect_uri"] == [azure.redirect_url]
    assert urlsplit(azure.redirect_url).path == "/v1/azure/consent"
    found = ok(landed(handler, given["state"][0], **GRANTED))
    assert (found["tenant_id"], found["consented"]) == ("acme", True)
    elsewhere = landed(handler, given["state"][0], **{**GRANTED, "tenant": OTHER})
    assert elsewhere.status == (400 if entra_tenant else 200), "a link for no Entra tenant in particular fits any"
    built.close()


def wrong_states(external_id: str) -> dict[str, tuple[str | None, dict[str, str]]]:
    good = make_state("acme", external_id, ENTRA)
    forged = good[:-1] + ("A" if good[-1] != "A" else "B")
    return {
        "forged": (forged, GRANTED),
        "of another Entra tenant": (good, {**GRANTED, "tenant": OTHER}),
        "of an Entra tenant by name": (make_state("acme", external_id), {**GRANTED, "tenant": "acme.com"}),
        "without the Entra tenant": (good, {"admin_consent": "True"}),
        "for beta, with acme's id": (good.replace("acme", "beta"), GRANTED),
        "for beta, which has no id": (make_state("beta", "guessed", ENTRA), GRANTED),
        "for nobody": (make_state("nobody", external_id, ENTRA), GRANTED),
        "for a spent id": (make_state("gone", "keystead-gone", ENTRA), GRANTED),
        "for a record that was tampered with": (make_state("spoilt", "keystead-spoilt", ENTRA), GRANTED),
        "rebound": (good.replace(ENTRA, OTHER), {**GRANTED, "tenant": OTHER}),
        "unbound": (good.replace(ENTRA, ""), GRANTED),
        "of no form": ("canary-77", GRANTED),
        "empty": ("", GRANTED),
        "missing": (None, GRANTED),
        "of a tenant id that is none": (good.replace("acme", "_system"), GRANTED),
    }


def spoil(application: Application) -> None:
    """A tenant whose id is spent, and one whose record was written by somebody else."""
    records, store = application.records, application.keystead._parts.tenant_store
    for name in ("gone", "spoilt"):
        application.tenants.create(name, "")
        found = records.read(name)
        assert found is not None
        changed = replace(found[0], external_id=f"keystead-{name}", deleted=name == "gone")
        if name == "gone":
            records.write(changed, expected_revision=found[1])
        else:
            store.write(name, RECORD, {**changed.to_body(), MAC_FIELD: "00"}, expected_revision=found[1])


def test_whatever_is_wrong_the_answer_is_the_same(
    handler: Handler, application: Application, external_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(application)
    before = stored(application)
    with caplog.at_level(logging.DEBUG):
        answers = {name: landed(handler, state, **query) for name, (state, query) in wrong_states(external_id).items()}
    first = answers["forged"]
    assert (first.status, code(first)) == (400, "invalid_request")
    for name, response in answers.items():
        assert (response.status, response.body, response.headers) == (400, first.body, first.headers), name
    assert stored(application) == before
    told = caplog.text + str([vars(record) for record in caplog.records])
    for secret in (external_id, "canary-77", make_state("acme", external_id, ENTRA).rpartition(".")[2], "guessed"):
        assert secret not in told
        assert secret not in first.body.decode()


def test_a_state_for_every_other_tenant_is_worth_nothing(handler: Handler, application: Application) -> None:
    """An external id is one tenant's: with it, states for others are as good as guesses."""
    ids = {name: application.keystead._parts.setup_kits.with_external_id(name).external_id for name in ("acme", "beta")}
    for name, other in (("acme", "beta"), ("beta", "acme")):
        assert landed(handler, make_state(name, ids[name], ENTRA), **GRANTED).status == 200
        assert landed(handler, make_state(name, ids[other], ENTRA), **GRANTED).status == 400


def test_a_store_that_is_silent_says_nothing_of_tenants(
    handler: Handler, application: Application, external_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(application.keystead._parts.tenant_store, "read", silent)
    bodies = {
        (response.status, response.body)
        for name in ("acme", "beta", "nobody")
        for response in (landed(handler, make_state(name, external_id, ENTRA), **GRANTED),)
    }
    assert len(bodies) == 1
    assert bodies.pop()[0] == 503
    assert landed(handler, "v1.acme", **GRANTED).status == 400, "what is no state is not looked up"


def test_a_token_makes_no_difference(app: Any) -> None:
    """It is a browser that comes; what it sends besides is not looked at."""
    target = f"/v1/azure/consent?{urlencode({'state': make_state('acme', 'x', ENTRA), **GRANTED})}"
    given = [("x-request-id", "request-1"), ("accept", "text/html"), ("cookie", "a=b"), ("authorization", "Bearer x")]
    plain, dressed = (call(app, "GET", target, headers) for headers in (given[:1], given))
    assert plain.status == dressed.status == 400
    assert plain.body == dressed.body
    assert plain.headers["content-type"] == "application/problem+json"
    assert plain.headers["cache-control"] == "no-store"
