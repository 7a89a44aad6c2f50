"""What a receipt states is what the record says; a payload that is no receipt, or whose sum is wrong, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.receipts import Findings, ReceiptBounds, build, check, not_served_after, verify
from core.errors import InternalError, InvalidRequest
from tests.domain.strategies import usual
from tests.domain.test_jws import ED, JWKS, OTHER_ED, statement
from tests.domain.withdrawn import ARN, BOUNDS, ISSUER, RECEIPT, VAULT_KEY, at, revoked

FOUND = Findings(at(2), 128, at(-500))


def payload(found: Findings = FOUND, *, issued: str = at(3), bounds: ReceiptBounds = BOUNDS, **fields: Any) -> Any:
    return build(revoked(**fields), found, bounds=bounds, issued=issued, issuer=ISSUER)


def test_every_member() -> None:
    found = payload()
    sentences = found.pop("statements")
    assert found == {
        "typ": "keystead-revocation-receipt",
        "version": 1,
        "issuer": ISSUER,
        "tenant_id": "acme",
        "id": RECEIPT,
        "issued": at(3),
        "provider": "aws_kms",
        "kek": ARN,
        "kek_version": "",
        "cause": "disabled",
        "first_denial": at(0),
        "kms_code": "DisabledException",
        "kms_request_id": "req-1",
        "confirmed": at(1),
        "confirmation_code": "DisabledException",
        "confirmation_request_id": "req-2",
        "guard": "not_needed",
        "state_written": at(1.5),
        "state_stored_by": at(2),
        "bounds": {"state_age": 10, "store_silence": 30, "longest_operation": 30, "skew": 5},
        "not_served_after": at(67),
        "longest_lease": 60,
        "longest_outage_grace": 900,
        "last_recorded_use": at(-20),
        "data_keys": {"at_most": 128, "counted_since": at(-500), "none_after": at(67)},
        "platform_key_fallback": False,
    }
    assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize(
    ("fields", "told", "untold"),
    [
        ({}, ["neither encrypts nor decrypts", at(67), "until the key is reinstated"], ["platform's key"]),
        ({}, [f"refused the use of the key on {at(0)}, and again on {at(1)}"], []),
        ({"first_denial": ""}, [f"refused the use of the key on {at(1)}."], ["again"]),
        ({}, ["memory of processes that are suspended", "plaintext that was given to callers"], []),
        ({}, ["log of the tenant's own cloud", "request ids"], []),
        ({}, [f"At most 128 data keys were handed out to callers since {at(-500)}", "cannot be recalled"], []),
        ({}, [f"until {at(-20)} at least", "lower bound"], ["No use"]),
        ({"last_use": ""}, ["No use of the key was recorded"], ["lower bound"]),
        ({"guard": "not_needed"}, ["says of the key itself"], ["anary"]),
        ({"guard": "passed"}, ["Canary keys", "was not the cause"], ["not ruled out"]),
        ({"guard": "no_canary"}, ["No canary key is configured", "not ruled out"], ["was not the cause"]),
    ],
)
def test_the_sentences_say_what_the_facts_say(fields: dict[str, Any], told: list[str], untold: list[str]) -> None:
    text = "\n".join(payload(**fields)["statements"])
    assert [part for part in told if part not in text] == []
    assert [part for part in untold if part in text] == []


def test_no_data_key_and_a_fallback() -> None:
    found = payload(Findings(at(2)))
    assert found["data_keys"]["at_most"] == 0
    assert any("No data key was counted" in sentence for sentence in found["statements"])
    assert not any("recalled" in sentence for sentence in found["statements"])
    fallen_back = replace(revoked(), fallback_branch_key="x")
    found = build(fallen_back, FOUND, bounds=BOUNDS, issued=at(3), issuer=ISSUER)
    assert found["platform_key_fallback"] is True
    assert any("under the platform's key" in sentence for sentence in found["statements"])


@pytest.mark.parametrize(
    ("kek", "provider", "key", "version"),
    [
        (ARN, "aws_kms", ARN, ""),
        (f"{VAULT_KEY}/{1:032x}", "azure_key_vault", VAULT_KEY, f"{1:032x}"),
        ("local:acme", "local", "local:acme", ""),
    ],
)
def test_key_and_version(kek: str, provider: str, key: str, version: str) -> None:
    found = payload(kek=kek)
    assert (found["provider"], found["kek"], found["kek_version"]) == (provider, key, version)


@pytest.mark.parametrize(
    ("written", "stored_by", "issued", "counts_from"),
    [
        (1.5, 2, 3, 2),
        (1.5, 600, 3600, 600),  # known to be stored long after its write was begun
        (1.5, 1, 3, 1.5),  # no finding makes it earlier than the record does
        (1.5, 1e6, 3, 3),  # nor later than the receipt
        (4, 2, 3, 4),  # another machine's clock is behind
    ],
)
def test_counted_from_when_it_was_stored(written: float, stored_by: float, issued: float, counts_from: float) -> None:
    found = payload(Findings(at(stored_by)), issued=at(issued), written=at(written))
    assert (found["state_stored_by"], found["not_served_after"]) == (at(counts_from), at(counts_from + 65))


@pytest.mark.parametrize(("recorded", "counted", "told"), [(0, 64, 64), (192, 64, 192), (64, 192, 192)])
def test_the_higher_count_of_data_keys_is_told(recorded: int, counted: int, told: int) -> None:
    assert payload(Findings(at(2), counted, at(0)), data_keys=recorded)["data_keys"]["at_most"] == told


@pytest.mark.parametrize(
    ("bounds", "seconds"),
    [
        (ReceiptBounds(10, 30, 30, 5), 65),
        (ReceiptBounds(40, 30, 0, 0), 40),
        (ReceiptBounds(0.5, 0.25, 0.125, 0), 0.625),
        (ReceiptBounds(0, 0, 0, 0), 0),
    ],
)
def test_the_sum(bounds: ReceiptBounds, seconds: float) -> None:
    assert not_served_after(at(2), bounds) == at(2 + seconds)
    assert payload(bounds=bounds)["not_served_after"] == at(2 + seconds)


def test_only_a_confirmed_withdrawal_has_a_receipt() -> None:
    for record in (revoked(receipt=""), replace(revoked(), withdrawal=None)):
        with pytest.raises(InternalError):
            build(record, FOUND, bounds=BOUNDS, issued=at(3), issuer=ISSUER)


@pytest.mark.parametrize(
    "fields",
    [{"guard": ""}, {"kek": "purple"}, {"receipt": "1"}, {"written": ""}, {"confirmed": "now"}, {"data_keys": -1}],
)
def test_a_record_that_cannot_stand_in_a_receipt(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        build(revoked(**fields), Findings(at(2), -1), bounds=BOUNDS, issued=at(3), issuer=ISSUER)


@usual
@given(
    written=st.floats(-1e6, 1e6),
    stored_by=st.floats(-1e6, 1e6),
    bounds=st.tuples(*[st.floats(0, 1e5)] * 4),
    fields=st.fixed_dictionaries(dict.fromkeys(("cause", "kms_code", "request_id", "confirmed_code"), st.text())),
)
def test_what_is_built_verifies_and_says_the_same(
    written: float, stored_by: float, bounds: tuple[float, float, float, float], fields: dict[str, str]
) -> None:
    built = payload(
        Findings(at(stored_by)), issued=at(2e6), bounds=ReceiptBounds(*bounds), written=at(written), **fields
    )
    assert verify(statement(ED.sign, payload=built), JWKS) == built
    assert built["not_served_after"] >= built["state_stored_by"] >= at(written)


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.pop(name)


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(found: dict[str, Any]) -> None:
        for name in path[:-1]:
            found = found[name]
        found[path[-1]] = value

    return change


WRONG: tuple[Any, ...] = (None, {}, ["x", 7])
INSTANTS = [name for name, value in payload().items() if isinstance(value, str) and value.startswith("2027-")]
NO_RECEIPTS: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"without {name}": drop(name) for name in payload()},
    **{f"{name} is {value!r}": put(name, value=value) for name in payload() for value in WRONG},
    **{f"{name} is a number": put(name, value=7.5) for name in payload() if not name.startswith("longest")},
    **{f"{name} is no instant": put(name, value="2027-01-15") for name in INSTANTS},
    **{
        f"{name} is empty": put(name, value="")
        for name in INSTANTS
        if name not in ("first_denial", "last_recorded_use")
    },
    "of another format": put("version", value=2),
    "of format true": put("version", value=True),
    "an audit checkpoint": put("typ", value="keystead-audit-checkpoint"),
    "an id in capitals": put("id", value=RECEIPT.upper()),
    "a guard unheard of": put("guard", value="asleep"),
    "a negative lease": put("longest_lease", value=-1),
    "a lease that is no number": put("longest_lease", value=float("nan")),
    "a bound missing": lambda found: found["bounds"].pop("skew"),
    "a bound too many": put("bounds", "luck", value=1),
    "a bound without end": put("bounds", "skew", value=float("inf")),
    "a negative bound": put("bounds", "state_age", value=-1),
    "a wrong bound": put("bounds", "skew", value=4),
    "served shorter": put("not_served_after", value=at(60)),
    "served longer": put("not_served_after", value=at(70)),
    "stored earlier": put("state_stored_by", value=at(1)),
    "data keys until another time": put("data_keys", "none_after", value=at(60)),
    "data keys in part": put("data_keys", "at_most", value=0.5),
    "fewer than no data keys": put("data_keys", "at_most", value=-64),
    "counted since whenever": put("data_keys", "counted_since", value="whenever"),
}


@pytest.mark.parametrize("change", NO_RECEIPTS.values(), ids=NO_RECEIPTS)
def test_what_is_no_receipt_is_refused_though_it_is_signed(change: Callable[[dict[str, Any]], object]) -> None:
    changed = json.loads(json.dumps(payload()))
    change(changed)
    with pytest.raises(InvalidRequest):
        verify(statement(ED.sign, payload=changed), JWKS)


def test_a_member_that_is_not_known_does_no_harm() -> None:
    found = {**payload(), "acknowledgements": []}
    check(found)
    assert verify(statement(ED.sign, payload=found), JWKS) == found


def test_signed_by_another_key() -> None:
    with pytest.raises(InvalidRequest, match="changed after it was signed, or forged"):
        verify(statement(OTHER_ED.sign, payload=payload()), JWKS)
