"""Sessions: how long one is used, whose it is, and what it can do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest

from core.domain.kek import Kek, KeyAccess
from core.errors import Silence
from core.providers.aws_kms import clients
from core.providers.aws_kms.calls import Answer, Budget, Calls
from core.providers.aws_kms.clients import Connection
from core.providers.aws_kms.failures import Failure, Kind
from core.providers.aws_kms.provider import describe_key, encrypt
from core.providers.aws_kms.roles import session_name
from core.providers.aws_kms.sessions import Entry, SessionKey, TenantSession
from core.providers.aws_kms.setup_kit import trust_policy
from functions.emulators.kms import LOCAL_PRINCIPAL, Fault
from tests.conformance.key_provider import KEY
from tests.providers.aws_kms.stage import CONTEXT, EXTERNAL_ID, ROLE, Stage
from tests.service.world import FakeClock


def by_role(stage: Stage, **more: object) -> KeyAccess:
    arn = stage.role_key()
    stage.role([arn])
    return stage.role_access(arn, **more)


def use(stage: Stage, access: KeyAccess) -> None:
    provider = stage.kms.connect(access)
    assert provider.unwrap(provider.wrap(access.kek, KEY, CONTEXT), CONTEXT).key == KEY


def test_without_a_lease_a_fresh_session_precedes_every_use(stage: Stage) -> None:
    access = by_role(stage)
    for _ in range(2):
        use(stage, access)
    assert stage.made() == ["AssumeRole", "Encrypt", "AssumeRole", "Decrypt"] * 2
    calls = stage.emulator.calls
    assert len({call.access_key_id for call in calls if call.service == "kms"}) == 4


@pytest.mark.parametrize(("lease", "usable"), [(60, 60), (600, 600), (900, 600), (3600, 600)])
@pytest.mark.parametrize("clock", ["wall_ahead", "boot_ahead", "ahead"])
def test_a_session_is_used_again_for_a_lease_at_most(stage: Stage, lease: float, usable: float, clock: str) -> None:
    access = by_role(stage, lease=lease)
    stage.emulator.now = FakeClock().wall  # its sessions do not end
    use(stage, access)
    setattr(stage.clock, clock, usable - 30.0)
    use(stage, access)
    assert stage.attempts()["AssumeRole"] == 1
    setattr(stage.clock, clock, float(usable))
    use(stage, access)
    assert stage.attempts()["AssumeRole"] == 2


def test_a_sessions_age_counts_from_before_it_was_asked_for() -> None:
    clock, asked = FakeClock(), list[str]()

    class Slow:
        def ask(self, calls: Calls, request: object, budget: Budget) -> Answer:
            asked.append("AssumeRole")
            clock.advance(50)
            return {"Credentials": dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken"), "x")}

    key = SessionKey("acme", 1, "eu-central-1", ROLE, EXTERNAL_ID, "arn")
    slow = cast("Connection", Slow())
    session = TenantSession(key, slow, slow, Calls(), clock)
    budget = Budget(clock, 1000, lambda: 1000)
    for advance, made in ((0, 1), (9, 1), (1, 2)):
        clock.advance(advance)
        assert isinstance(session.enter(budget, 60), Entry)
        assert len(asked) == made


def test_an_unwrap_tells_how_old_its_proof_is(stage: Stage) -> None:
    """The lease counts from the last time that STS let us assume the role, not from the last use of the session."""
    access = by_role(stage, lease=60)
    wrapped = stage.kms.connect(replace(access, revision=2)).wrap(access.kek, KEY, CONTEXT)
    assert stage.kms.connect(replace(access, lease=0)).unwrap(wrapped, CONTEXT).proved_ago == 0
    stage.kms.close()
    provider = stage.kms.connect(access)
    assert provider.unwrap(wrapped, CONTEXT).proved_ago == 0
    for clock, ahead in (("boot_ahead", 20.0), ("wall_ahead", 40.0), ("ahead", 10.0)):
        setattr(stage.clock, clock, ahead)
        told = provider.unwrap(wrapped, CONTEXT).proved_ago
        expected = max(stage.clock.boot_ahead, stage.clock.wall_ahead) + stage.clock.ahead
        assert expected <= told < expected + 5
    assert stage.attempts()["AssumeRole"] == 3
    stage.clock.ahead = 30.0
    assert provider.unwrap(wrapped, CONTEXT).proved_ago == 0
    assert stage.attempts()["AssumeRole"] == 4


def test_what_a_renewed_session_proves_is_new(stage: Stage) -> None:
    access = by_role(stage, lease=600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.clock.ahead = 50
    stage.emulator.add_fault(Fault("Decrypt", code="ExpiredTokenException", times=1))
    assert provider.unwrap(wrapped, CONTEXT).proved_ago == 0
    assert stage.attempts()["AssumeRole"] == 2


def test_without_a_role_every_use_is_its_own_proof(stage: Stage) -> None:
    access = stage.access(stage.key(), lease=3600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.clock.ahead = 100
    assert provider.unwrap(wrapped, CONTEXT).proved_ago == 0


def test_one_lease_does_not_lengthen_another(stage: Stage) -> None:
    access = by_role(stage, lease=3600)
    use(stage, access)
    stage.clock.ahead = 61
    use(stage, replace(access, lease=60))
    use(stage, replace(access, lease=0))
    assert stage.attempts()["AssumeRole"] == 4


@pytest.mark.parametrize(
    "changed",
    [
        {"tenant_id": "acmf"},
        {"tenant_id": ""},
        {"revision": 2},
        {"role_arn": ROLE + "x"},
        {"external_id": EXTERNAL_ID + "x"},
    ],
    ids=str,
)
def test_another_access_shares_no_session(stage: Stage, changed: dict[str, object]) -> None:
    access = by_role(stage, lease=3600)
    other = replace(access, **changed)  # type: ignore[arg-type]  # a table of fields
    for role in {ROLE, other.role_arn}:
        stage.role([access.kek.locator], role=role)
        trust = trust_policy(LOCAL_PRINCIPAL, EXTERNAL_ID)
        trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] = [EXTERNAL_ID, other.external_id]
        stage.emulator.update_trust_policy(role, trust)
    use(stage, access)
    use(stage, other)
    uses = [call for call in stage.emulator.calls if call.service == "kms"]
    assert len({call.access_key_id for call in uses}) == 2
    assert {call.access_key_id for call in uses[:2]}.isdisjoint(call.access_key_id for call in uses[2:])
    assert uses[-1].principal_arn == other.role_arn


def test_neighbouring_tenants_each_use_their_own_role(stage: Stage) -> None:
    accounts = ("111122223333", "111122223334")
    accesses = []
    for account, tenant in zip(accounts, ("acme", "acmf"), strict=True):
        arn = stage.role_key(account=account, key_id="0a0a0a0a-0000-4000-8000-00000000000a")
        role = f"arn:aws:iam::{account}:role/keystead-byok"
        stage.role([arn], role=role, tenant=tenant, external_id=f"xid-{tenant}")
        accesses.append(KeyAccess(tenant, 1, Kek(arn), role, f"xid-{tenant}", 3600))

    def wraps(access: KeyAccess) -> None:
        context = {**CONTEXT, "tenant_id": access.tenant_id}
        provider = stage.kms.connect(access)
        for _ in range(5):
            assert provider.unwrap(provider.wrap(access.kek, KEY, context), context).key == KEY

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(wraps, accesses * 4))
    used = {(call.access_key_id, call.principal_arn, call.key_arn) for call in stage.emulator.calls if call.context}
    assert {(role, key) for _, role, key in used} == {(access.role_arn, access.kek.locator) for access in accesses}
    assert len(used) == stage.attempts()["AssumeRole"] == 2


def test_a_client_is_made_once_however_many_ask(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = clients.ClientFactory.make

    def counted(factory: clients.ClientFactory, service: str, region: str, signing: clients._Signing) -> Any:
        made.append(service)
        return make(factory, service, region, signing)

    monkeypatch.setattr(clients.ClientFactory, "make", counted)
    access = by_role(stage, lease=3600)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: use(stage, access), range(16)))
    assert sorted(made) == ["kms", "sts"]
    assert stage.attempts()["AssumeRole"] == 1


def test_only_the_last_used_are_kept(stage: Stage) -> None:
    access = by_role(stage, lease=3600)
    stage.kms = stage.connector(stage.settings, limit=2)
    one, two, three = (replace(access, revision=revision) for revision in (1, 2, 3))
    for found, made in ((one, 1), (two, 2), (one, 2), (three, 3), (one, 3), (two, 4)):
        use(stage, found)
        assert stage.attempts()["AssumeRole"] == made


def test_a_provider_in_use_outlives_its_place_in_the_cache(stage: Stage) -> None:
    access = by_role(stage, lease=3600)
    stage.kms = stage.connector(stage.settings, limit=1)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.kms.connect(replace(access, revision=2))
    assert provider.unwrap(wrapped, CONTEXT).key == KEY


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_a_session_that_ended_early_is_renewed_once(stage: Stage, code: str) -> None:
    access = by_role(stage, lease=3600)
    provider = stage.kms.connect(access)
    wrapped = provider.wrap(access.kek, KEY, CONTEXT)
    stage.emulator.add_fault(Fault("Decrypt", code=code, times=1))
    assert provider.unwrap(wrapped, CONTEXT).key == KEY
    assert stage.made() == ["AssumeRole", "Encrypt", "Decrypt", "AssumeRole", "Decrypt"]
    stage.emulator.clear_calls()
    stage.emulator.add_fault(Fault("Decrypt", code=code))
    with pytest.raises(Silence) as raised:
        provider.unwrap(wrapped, CONTEXT)
    assert type(raised.value) is Silence
    assert stage.made() == ["Decrypt", "AssumeRole", "Decrypt"]


def test_a_session_reaches_its_kek_and_our_actions_only(stage: Stage) -> None:
    one, other = stage.role_key(), stage.role_key()
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}
    stage.role([one, other], policy=everything)
    session = stage.kms.connect(stage.role_access(one))._session
    budget = Budget(stage.clock, 2.5, lambda: 2.5)
    for arn, allowed in ((one, True), (other, False)):
        for request in (encrypt(arn, KEY, CONTEXT), describe_key(arn)):
            found = session.visit(budget, 60).ask(request)
            assert isinstance(found, Failure) is not allowed
            assert not isinstance(found, Failure) or (found.kind, found.cause) == (Kind.DENIAL, "policy")


def test_outside_a_call_nothing_can_be_signed() -> None:
    with pytest.raises(AttributeError):
        clients._Signing().get_frozen_credentials()


@pytest.mark.parametrize(
    ("tenant_id", "name"),
    [
        ("acme", "keystead-acme"),
        ("a" * 55, "keystead-" + "a" * 55),
        ("_system", "keystead-_system"),
        ("ünï/код", "keystead--n-----"),
    ],
)
def test_session_names(tenant_id: str, name: str) -> None:
    assert session_name(tenant_id) == name


def test_long_session_names_stay_apart() -> None:
    names = {session_name("a" * 62 + last) for last in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {64}
