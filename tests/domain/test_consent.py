"""States of consent links: bound to tenant, Entra tenant and external id, and to nothing that can be guessed."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

import pytest

from core.domain.consent import check_state, make_state, tenant_of
from core.errors import InternalError, InvalidRequest

TENANT, EXTERNAL_ID = "acme", "keystead-5c0ffee5c0ffee"
ENTRA, OTHER = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
STATE = make_state(TENANT, EXTERNAL_ID, ENTRA)


def test_the_form_is_fixed() -> None:
    """Links are followed days after they were made: an update must not make them another form."""
    message = b"keystead azure consent v1\x00acme\x00" + ENTRA.encode()
    mac = hmac.new(EXTERNAL_ID.encode(), message, hashlib.sha256).digest()
    assert f"v1.acme.{ENTRA}." + urlsafe_b64encode(mac).decode().rstrip("=") == STATE
    assert EXTERNAL_ID not in STATE


@pytest.mark.parametrize(("asked", "answered"), [(ENTRA, ENTRA), (ENTRA, ENTRA.upper()), ("", ENTRA), ("", OTHER)])
def test_what_was_made_passes(asked: str, answered: str) -> None:
    state = make_state(TENANT, EXTERNAL_ID, asked)
    assert tenant_of(state) == TENANT
    check_state(state, TENANT, EXTERNAL_ID, answered)


@pytest.mark.parametrize(
    ("state", "tenant", "external_id", "entra_tenant"),
    [
        (STATE, "other", EXTERNAL_ID, ENTRA),
        (STATE, TENANT, "keystead-another", ENTRA),
        (STATE, TENANT, "", ENTRA),
        (STATE, TENANT, EXTERNAL_ID, OTHER),
        (STATE, TENANT, EXTERNAL_ID, "contoso.onmicrosoft.com"),
        (STATE, TENANT, EXTERNAL_ID, ""),
        (STATE.replace(ENTRA, OTHER), TENANT, EXTERNAL_ID, OTHER),
        (STATE.replace(ENTRA, ""), TENANT, EXTERNAL_ID, ENTRA),
        (STATE.replace("acme", "other"), "other", EXTERNAL_ID, ENTRA),
        (STATE[:-1] + ("A" if STATE[-1] != "A" else "B"), TENANT, EXTERNAL_ID, ENTRA),
        (make_state("other", "keystead-others", ENTRA).replace("other", TENANT), TENANT, EXTERNAL_ID, ENTRA),
    ],
)
def test_what_was_made_for_something_else_is_refused(
    state: str, tenant: str, external_id: str, entra_tenant: str
) -> None:
    with pytest.raises(InvalidRequest):
        check_state(state, tenant, external_id, entra_tenant)


@pytest.mark.parametrize(
    "state",
    [
        *("", "acme", "v1.acme", STATE.replace("v1.", "v2."), STATE.replace("v1.", ""), STATE + "=", STATE + "\n"),
        *(" " + STATE, STATE.upper(), STATE[:-1], STATE + "A", f"v1.{'a' * 64}.." + STATE[-43:]),
        *(STATE.replace("acme", "ácme"), STATE.replace("acme", "-acme"), STATE.replace("acme", "")),
    ],
)
def test_what_is_no_state_names_nobody(state: str) -> None:
    with pytest.raises(InvalidRequest):
        tenant_of(state)
    with pytest.raises(InvalidRequest):
        check_state(state, TENANT, EXTERNAL_ID, ENTRA)


@pytest.mark.parametrize(("tenant", "entra_tenant"), [("Acme", ENTRA), ("", ENTRA), ("acme", "x"), ("acme", "A" * 36)])
def test_a_state_names_well_formed_ids_only(tenant: str, entra_tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        make_state(tenant, EXTERNAL_ID, entra_tenant)


def test_an_upper_case_entra_tenant_is_refused() -> None:
    """Two spellings would make two states."""
    with pytest.raises(InvalidRequest):
        make_state(TENANT, EXTERNAL_ID, "ABCDEFAB-2222-3333-4444-555555555555")


def test_no_state_without_an_external_id() -> None:
    with pytest.raises(InternalError):
        make_state(TENANT, "", ENTRA)
