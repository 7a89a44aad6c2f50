"""Tenant ids, the record the state gate reads, and what may be written over it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.bindings import Binding, LostKek
from core.domain.kek import Kek
from core.domain.key_policy import KeyPolicy
from core.domain.key_target import KeyTarget
from core.domain.record_checks import check_first, check_rewrite
from core.domain.states import TRANSITIONS, State
from core.domain.tenants import SYSTEM, TenantRecord, check_tenant_id
from core.domain.withdrawals import StateChange
from core.errors import Conflict, InvalidRequest, StoreCorrupt
from tests.domain.strategies import usual
from tests.domain.withdrawal_strategies import changes, withdrawals
from tests.domain.withdrawn import withdrawal
from tests.samples import tenant_record

RECORD = tenant_record("acme", display_name="Acme", cause="x", moving_from="local:old", sequence_floor=3)
ALPHABET = set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("text", ["a", "0", "acme", "a-b", "a-", "a--b", "0123", "a" * 63, "x" + "-" * 62])
def test_tenant_ids(text: str) -> None:
    assert check_tenant_id(text) == text


NOT_IDS = [
    "",
    "-",
    "-a",
    "a" * 64,
    "acme\n",
    "\nacme",
    "acme\x00",
    "Acme",
    "ACME",
    "a_b",
    SYSTEM,
    "a.b",
    "a b",
    " a",
    "a/b",
]
NOT_IDS += ["a/../b", "..", "é", "acmé", "\u0430cme", "a\u0661", "\uff41", "a\u200b", "\ud800"]


@pytest.mark.parametrize("text", NOT_IDS)
def test_what_is_no_tenant_id(text: str) -> None:
    with pytest.raises(InvalidRequest):
        check_tenant_id(text)


@usual
@given(st.text(max_size=70) | st.text(alphabet="ab-0\nA", max_size=70))
def test_a_tenant_id_is_exactly_the_pattern(text: str) -> None:
    valid = 1 <= len(text) <= 63 and set(text) <= ALPHABET and text[0] != "-"
    try:
        assert check_tenant_id(text) == text
        assert valid
    except InvalidRequest:
        assert not valid


names = st.text(max_size=10)
VAULT_KEY = "https://acme-kv.vault.azure.net/keys/kek"
ENTRA_TENANT = "72f988bf-0000-4000-8000-00000000acce"
NEW_FIELDS = frozenset(
    {
        *("offering", "unbound_policy_accepted", "external_id", "binding", "moving_binding", "reversible"),
        *("exclusive_from", "probe_digest", "pending", "former_branch_keys", "lost_keks"),
    }
)
bindings = st.builds(Binding, names, st.integers(1, 1 << 40), names, st.booleans(), st.booleans(), names)
records = st.builds(
    TenantRecord,
    tenant_id=names,
    branch_key_id=names,
    kek=names,
    since=names,
    created=names,
    display_name=names,
    state=st.sampled_from(State),
    cause=names,
    moving_from=st.none() | names,
    configuration_revision=st.integers(0, 1 << 40),
    sequence_floor=st.integers(0, 1 << 40),
    policy=st.builds(
        KeyPolicy,
        st.floats(0, 3600) | st.integers(0, 3600),
        st.floats(0, 86400),
        st.integers(1, 365),
        st.sampled_from(["", "platform"]),
        st.sampled_from(["", "second_person"]),
    ),
    deleted=st.booleans(),
    offering=names,
    unbound_policy_accepted=st.booleans(),
    external_id=names,
    binding=bindings,
    moving_binding=bindings,
    reversible=st.booleans(),
    exclusive_from=names,
    probe_digest=names,
    pending=st.none()
    | st.builds(KeyTarget, st.just("local:new"), nickname=st.just("new"), reversible=st.booleans())
    | st.builds(KeyTarget, st.just(VAULT_KEY), entra_tenant=st.just(ENTRA_TENANT), reversible=st.booleans()),
    former_branch_keys=st.lists(names, max_size=2).map(tuple),
    lost_keks=st.lists(st.builds(LostKek, names, bindings), max_size=2).map(tuple),
    withdrawal=st.none() | withdrawals,
    resume_to=st.just("") | st.sampled_from(State).map(str),
    untold=st.lists(changes, max_size=2).map(tuple),
    fallback_branch_key=names,
    interruptions=st.integers(0, 1 << 40),
)
COUNTS = ("configuration_revision", "sequence_floor", "interruptions")
CHANGE = StateChange("id", "at", "active", "hold", "denied")


def test_a_record_of_before_tenants_could_bring_a_key_is_read() -> None:
    body = RECORD.to_body()
    assert body.keys() >= NEW_FIELDS
    old = {name: value for name, value in body.items() if name not in NEW_FIELDS}
    assert TenantRecord.from_body(old) == RECORD


def test_a_record_of_before_keys_in_azure_is_read() -> None:
    before = replace(RECORD, binding=Binding(nickname="old"), pending=KeyTarget("local:new"))
    body = before.to_body()
    # Nor does one without such keys have a field that a process of before does not know.
    assert "entra_tenant" not in str(body)
    assert TenantRecord.from_body(body) == before


def test_a_version_of_a_key_is_reached_as_the_key() -> None:
    binding = Binding(entra_tenant=ENTRA_TENANT)
    record = replace(RECORD, kek=VAULT_KEY, binding=binding, moving_from=None, external_id="proof")
    access = record.access(Kek(f"{VAULT_KEY}/{1:032x}"))
    assert (access.kek, access.entra_tenant, access.external_id) == (Kek(VAULT_KEY), ENTRA_TENANT, "proof")
    assert record.grace(f"{VAULT_KEY}/{1:032x}") == record.policy.outage_grace > 0
    assert record.grace(f"{VAULT_KEY}x/{1:032x}") == 0
    for foreign in (f"{VAULT_KEY}x/{1:032x}", f"{VAULT_KEY}x", "https://acme-kv.vault.azure.net/keys"):
        with pytest.raises(StoreCorrupt):
            record.access(Kek(foreign))


@pytest.mark.parametrize(
    ("locator", "key", "versioned"),
    [
        (f"{VAULT_KEY}/{1:032x}", VAULT_KEY, True),
        (VAULT_KEY, VAULT_KEY, True),
        ("local:acme", "local:acme", False),
        ("arn:aws:kms:eu-central-1:1:key/a/b/c/d/e", "arn:aws:kms:eu-central-1:1:key/a/b/c/d/e", False),
    ],
)
def test_the_key_of_a_version(locator: str, key: str, versioned: bool) -> None:
    assert (Kek(locator).key, Kek(locator).versioned) == (Kek(key), versioned)


@usual
@given(records)
def test_a_record_comes_back_from_json(record: TenantRecord) -> None:
    assert TenantRecord.from_body(json.loads(json.dumps(record.to_body()))) == record


def corrupt() -> dict[str, Any]:
    """Bodies that are no tenant record, by what is wrong with them."""
    body = RECORD.to_body()
    cases: dict[str, Any] = {
        "nothing": {},
        "null": None,
        "a list": [],
        "a string": "x",
        "an unknown field": {**body, "x": 1},
    }
    for name in ("tenant_id", "branch_key_id", "kek", "since", "created", "state", "policy"):
        cases[f"no {name}"] = {key: value for key, value in body.items() if key != name}
    wrong: dict[str, tuple[Any, ...]] = {
        "state": ("Active", "", None, 1, ["active"], {}),
        "policy": (
            None,
            [],
            "x",
            {"lease": 1, "x": 2},
            {"lease": "60"},
            {"lease": True},
            {"lease": -1},
            {"lease": 3601},
        ),
        "deleted": ("false", 0, None),
        "moving_from": (1, True, [], {}),
        **{name: (None, 1, [], {}) for name in ("tenant_id", "branch_key_id", "kek", "since", "created")},
        **dict.fromkeys(("display_name", "cause"), (None, 1)),
        **{name: ("1", None, 1.0, True, -1, [1]) for name in COUNTS},
        **dict.fromkeys(("resume_to", "fallback_branch_key"), (None, 1, True, [], {})),
        "withdrawal": (
            *(None, "", "x", 1, [], {}),
            {**withdrawal().to_body(), "lease": "60"},
            {**withdrawal().to_body(), "back_to": "purple"},
            {**withdrawal().to_body(), "x": ""},
        ),
        "untold": (
            *(None, "", "x", {}, 1, ["x"], [None], [[]], [{}]),
            [CHANGE.to_body(), {**CHANGE.to_body(), "at": 1}],
            [{**CHANGE.to_body(), "x": ""}],
            {"0": CHANGE.to_body()},
        ),
    }
    no_choices: tuple[Any, ...] = (None, 1, True, [], "x", "Platform", "second person")
    for field in ("fallback", "approval"):
        wrong["policy"] += tuple({field: choice} for choice in no_choices)
    for name, values in wrong.items():
        cases |= {f"{name} is {value!r}": {**body, name: value} for value in values}
    for value in (math.nan, math.inf):
        cases[f"a lease of {value}"] = {**body, "policy": {"lease": value}}
    return cases


CORRUPT = corrupt()
corrupt_bodies = pytest.mark.parametrize("body", CORRUPT.values(), ids=CORRUPT)


@corrupt_bodies
def test_a_corrupt_body_is_the_stores_fault(body: Any) -> None:
    with pytest.raises(StoreCorrupt):
        TenantRecord.from_body(body)


@corrupt_bodies
def test_a_corrupt_body_is_never_written_nor_written_over(body: Any) -> None:
    for old, new in ((body, RECORD.to_body()), (RECORD.to_body(), body)):
        with pytest.raises(StoreCorrupt):
            check_rewrite(old, new)


@corrupt_bodies
def test_a_corrupt_body_is_never_the_first(body: Any) -> None:
    with pytest.raises(StoreCorrupt):
        check_first(body)


@pytest.mark.parametrize("state", State)
def test_a_tenant_starts_under_the_platforms_key(state: State) -> None:
    body = replace(RECORD, state=state).to_body()
    if state is State.PLATFORM:
        check_first(body)
    else:
        with pytest.raises(Conflict, match="starts in state platform"):
            check_first(body)


@pytest.mark.parametrize("new", State)
@pytest.mark.parametrize("old", State)
def test_states_change_only_as_the_table_says(old: State, new: State) -> None:
    before, after = replace(RECORD, state=old).to_body(), replace(RECORD, state=new).to_body()
    if new is old or new in TRANSITIONS[old]:
        check_rewrite(before, after)
    else:
        with pytest.raises(Conflict):
            check_rewrite(before, after)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"display_name": "Other", "cause": "", "since": "later"}, True),
        ({"kek": "local:new", "moving_from": None}, True),
        ({"policy": KeyPolicy(lease=0)}, True),
        ({"configuration_revision": 8}, True),
        ({"configuration_revision": 6}, False),
        ({"sequence_floor": 4}, True),
        ({"sequence_floor": 2}, False),
        ({"sequence_floor": 0, "branch_key_id": "another", "former_branch_keys": (RECORD.branch_key_id,)}, True),
        ({"sequence_floor": 0, "branch_key_id": "another"}, False),
        ({"former_branch_keys": ("another",)}, True),
        ({"external_id": "ours"}, False),
        ({"external_id": ""}, False),
        ({"binding": Binding("arn:aws:iam::111122223333:role/x", 8, "new", True)}, True),
        ({"tenant_id": "other"}, False),
        ({"created": "later"}, False),
        ({"deleted": True}, True),
    ],
)
def test_what_may_be_rewritten(changes: dict[str, Any], allowed: bool) -> None:
    before = replace(RECORD, configuration_revision=7, external_id="made once")
    after = replace(before, **changes)
    if allowed:
        check_rewrite(before.to_body(), after.to_body())
    else:
        with pytest.raises(Conflict):
            check_rewrite(before.to_body(), after.to_body())


@pytest.mark.parametrize("deleted", [True, False])
def test_a_spent_id_stays_as_it_is(deleted: bool) -> None:
    with pytest.raises(Conflict, match="spent"):
        check_rewrite(replace(RECORD, deleted=True).to_body(), replace(RECORD, deleted=deleted).to_body())


def test_the_floor_never_falls() -> None:
    assert RECORD.with_floor(2) == RECORD.with_floor(3) == RECORD
    assert RECORD.with_floor(4).sequence_floor == 4


def test_the_keks_in_force() -> None:
    assert RECORD.keks == {"local:platform", "local:old"}
    assert replace(RECORD, moving_from=None).keks == {"local:platform"}


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (KeyPolicy(), True),
        (KeyPolicy(0, 0, 1), True),
        (KeyPolicy(3600, 86400, 365), True),
        (KeyPolicy(lease=-0.1), False),
        (KeyPolicy(lease=3600.1), False),
        (KeyPolicy(lease=math.nan), False),
        (KeyPolicy(outage_grace=-1), False),
        (KeyPolicy(outage_grace=86401), False),
        (KeyPolicy(outage_grace=math.inf), False),
        (KeyPolicy(rotation_days=0), False),
        (KeyPolicy(rotation_days=366), False),
    ],
)
def test_policies(policy: KeyPolicy, allowed: bool) -> None:
    if allowed:
        policy.check()
    else:
        with pytest.raises(InvalidRequest):
            policy.check()
