"""The vendor-fault guard over the real connectors: canaries refused, silent and reinstated in both clouds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.domain.bindings import Binding
from core.domain.canaries import Canary
from core.domain.kek import Kek
from core.domain.tenants import TenantRecord
from core.ports import KeyConnector
from core.service.alarms import Alarms
from core.service.kms_budget import KmsBudget
from core.service.providers import Providers
from core.service.revocation.guard import GuardFinding, VendorFaultGuard
from core.service.row_macs import RowMacs
from core.service.timekeeper import Timekeeper
from functions.emulators.azure_faults import AzureFault
from functions.emulators.faults import Fault
from functions.emulators.kms import LOCAL_PRINCIPAL
from tests.byok.clouds import CLIENT_ID, HOME, OTHER_ENTRA_TENANT, TwoClouds, two_clouds
from tests.byok.deployment import PLATFORM, Deployment, filled
from tests.service.revocation.sites import tenant
from tests.service.world import VAULT_KEK

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
"""A tenant's: the guard looks at how it is reached, and never at the key."""
ACCOUNT = "444455556666"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/canary"
EXTERNAL_ID = "of-the-canary-9f3f31dee6915899"
VAULT = "https://canary-kv.vault.azure.net"
PASSED, OURS, UNKNOWN, NO_CANARY = GuardFinding
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
NOBODY = {"Version": "2012-10-17", "Statement": [{**ROOT, "Action": ["kms:*"], "Resource": "*"}]}
NOBODY_TRUSTED = {"Version": "2012-10-17", "Statement": [{**ROOT, "Action": "sts:AssumeRole"}]}


def behind_role() -> TenantRecord:
    """A tenant whose key is reached through a role."""
    return replace(tenant(kek=Kek(KEY)), binding=Binding(role_arn="arn:aws:iam::111122223333:role/for-keystead"))


def guard(site: Deployment, *canaries: Canary) -> VendorFaultGuard:
    """The guard of a process of a deployment."""
    now = Timekeeper(site.clock, lambda reason: None).now
    alarms, budget = Alarms(site.events, now), KmsBudget(site.clock.boot)
    connectors: Mapping[Any, KeyConnector] = site.app.leaves.connectors
    providers = Providers(site.kms, PLATFORM, connectors, alarms, budget)
    return VendorFaultGuard(
        canaries=canaries,
        store=site.tenants,
        macs=RowMacs(site.tenants, providers, "keystead-branch-keys"),
        providers=providers,
        alarms=alarms,
        now=now,
        budget=budget,
        table_name="keystead-branch-keys",
    )


def documents(site: Deployment) -> Mapping[str, Any]:
    """What the setup kit says for the service's own partition."""
    found: Mapping[str, Any] = site.opened[0].setup_kit("_system", EXTERNAL_ID)["documents"]
    return found


def canary_with_policy(site: Deployment) -> Canary:
    """A key whose policy names this service."""
    policy = filled(documents(site)["key_policy"], ACCOUNT)
    return Canary(str(site.emulator.create_key(account=ACCOUNT, policy=policy))).check()


def canary_behind_role(site: Deployment) -> Canary:
    """A key that a role may use, which this service may assume."""
    kit = documents(site)
    arn = str(site.emulator.create_key(account=ACCOUNT, policy=filled(kit["key_policy_for_role"], ACCOUNT)))
    site.emulator.create_role(
        ROLE,
        trust_policy=filled(kit["trust_policy"], ACCOUNT),
        policies={"keystead": filled(kit["role_policy"], ACCOUNT, arn)},
    )
    return Canary(arn, ROLE, external_id=EXTERNAL_ID).check()


@dataclass(frozen=True)
class Trouble:
    """What befalls a canary, how it is mended, and what the guard finds meanwhile."""

    begin: Callable[[Any, Canary], object]
    end: Callable[[Any, Canary], object]
    finding: GuardFinding
    alarms: frozenset[str]


def clear(site: Deployment, canary: Canary) -> None:
    site.emulator.clear_faults()


OURS_ALONE, BROKEN = frozenset({"vendor_fault"}), frozenset({"canary_unusable"})
DISABLED = Trouble(
    lambda site, canary: site.emulator.disable_key(canary.kek),
    lambda site, canary: site.emulator.enable_key(canary.kek),
    UNKNOWN,
    BROKEN,
)
THROTTLED = Trouble(
    lambda site, canary: site.emulator.add_fault(Fault("Decrypt", code="ThrottlingException", key_arn=canary.kek)),
    clear,
    UNKNOWN,
    frozenset(),
)
BY_POLICY = {
    "policy changed": Trouble(
        lambda site, canary: site.emulator.put_key_policy(canary.kek, NOBODY),
        lambda site, canary: site.emulator.put_key_policy(canary.kek, filled(documents(site)["key_policy"], ACCOUNT)),
        OURS,
        OURS_ALONE,
    ),
    "our credentials expired": Trouble(
        lambda site, canary: site.emulator.add_fault(Fault("Decrypt", code="ExpiredTokenException")),
        clear,
        OURS,
        OURS_ALONE | {"own_access"},
    ),
    "key disabled": DISABLED,
    "throttled": THROTTLED,
}
BY_ROLE = {
    "trust removed": Trouble(
        lambda site, canary: site.emulator.update_trust_policy(ROLE, NOBODY_TRUSTED),
        lambda site, canary: site.emulator.update_trust_policy(ROLE, documents(site)["trust_policy"]),
        OURS,
        OURS_ALONE,
    ),
    "we may assume no role": Trouble(
        lambda site, canary: site.emulator.add_fault(Fault("AssumeRole", code="AccessDenied")),
        clear,
        OURS,
        OURS_ALONE,
    ),
    "key disabled": DISABLED,
    "throttled": THROTTLED,
}


def alarms(site: Deployment) -> set[str]:
    """Names of the alarms since the last time."""
    found = {kind.rpartition(".")[2] for kind, _, _ in site.events.events if ".alarm." in kind}
    site.events.events.clear()
    return found


def told_apart(site: Any, canary: Canary, troubles: Mapping[str, Trouble], acme: TenantRecord) -> None:
    watch, kek = guard(site, canary), Kek(acme.kek)
    for name, trouble in troubles.items():
        assert watch.ask(acme, kek) is PASSED, name
        alarms(site)
        trouble.begin(site, canary)
        assert watch.ask(acme, kek) is trouble.finding, name
        assert alarms(site) == trouble.alarms, name
        trouble.end(site, canary)
        site.clock.advance(61)  # the same alarm is raised again, and what Entra said last is forgotten
    assert watch.ask(acme, kek) is PASSED
    assert watch.condition() == {}


def test_a_key_whose_policy_names_us(deployment: Deployment) -> None:
    told_apart(deployment, canary_with_policy(deployment), BY_POLICY, tenant(kek=Kek(KEY)))


def test_a_key_behind_a_role(deployment: Deployment) -> None:
    told_apart(deployment, canary_behind_role(deployment), BY_ROLE, behind_role())


def test_a_key_by_its_policy_says_nothing_of_one_behind_a_role(deployment: Deployment) -> None:
    watch = guard(deployment, canary_with_policy(deployment))
    assert watch.ask(behind_role(), Kek(KEY)) is NO_CANARY


def test_every_look_assumes_the_role_anew_and_under_the_services_own_name(deployment: Deployment) -> None:
    watch = guard(deployment, canary_behind_role(deployment))
    assert watch.ask(behind_role(), Kek(KEY)) is PASSED
    deployment.emulator.clear_calls()
    for _ in range(2):
        assert watch.ask(behind_role(), Kek(KEY)) is PASSED
    calls = deployment.emulator.calls
    assert [(call.operation, call.principal_arn) for call in calls] == [
        ("AssumeRole", LOCAL_PRINCIPAL),
        ("Decrypt", ROLE),
    ] * 2
    assert {call.context["tenant_id"] for call in calls if call.operation == "Decrypt"} == {"_system"}


# Azure


@pytest.fixture
def clouds() -> Iterator[TwoClouds]:
    with two_clouds() as made:
        yield made


def canary_in_vault(site: TwoClouds) -> Canary:
    """A key in a directory of the operator's that is not the application's own."""
    site.azure.consent(CLIENT_ID, OTHER_ENTRA_TENANT)
    site.azure.create_vault("canary-kv", OTHER_ENTRA_TENANT)
    kid = site.azure.create_key(VAULT, "canary", size=2048)
    site.azure.grant(VAULT, CLIENT_ID, key="canary")
    return Canary(Kek(kid).key.locator, entra_tenant=OTHER_ENTRA_TENANT).check()


IN_VAULT = {
    "role removed": Trouble(
        lambda site, canary: site.azure.revoke(VAULT, CLIENT_ID),
        lambda site, canary: site.azure.grant(VAULT, CLIENT_ID, key="canary"),
        OURS,
        OURS_ALONE,
    ),
    "consent withdrawn": Trouble(
        lambda site, canary: site.azure.withdraw_consent(CLIENT_ID, OTHER_ENTRA_TENANT),
        lambda site, canary: site.azure.consent(CLIENT_ID, OTHER_ENTRA_TENANT),
        OURS,
        OURS_ALONE,
    ),
    "our address changed": Trouble(
        lambda site, canary: site.azure.set_network(VAULT, "firewall"),
        lambda site, canary: site.azure.set_network(VAULT, "open"),
        OURS,
        OURS_ALONE,
    ),
    "key disabled": Trouble(
        lambda site, canary: site.azure.set_enabled(canary.kek, False),
        lambda site, canary: site.azure.set_enabled(canary.kek, True),
        UNKNOWN,
        BROKEN,
    ),
    "throttled": Trouble(
        lambda site, canary: site.azure.add_fault(AzureFault("unwrapkey", status=429)),
        lambda site, canary: site.azure.clear_faults(),
        UNKNOWN,
        frozenset(),
    ),
}


def test_a_key_in_a_vault(clouds: TwoClouds) -> None:
    told_apart(clouds, canary_in_vault(clouds), IN_VAULT, tenant(kek=VAULT_KEK))


def test_an_application_disabled_at_home_is_our_own_fault(clouds: TwoClouds) -> None:
    watch = guard(clouds, canary_in_vault(clouds))
    assert watch.ask(tenant(kek=VAULT_KEK), VAULT_KEK) is PASSED
    for entra_tenant in (HOME, OTHER_ENTRA_TENANT):
        clouds.azure.disable_application(CLIENT_ID, entra_tenant)
    assert watch.ask(tenant(kek=VAULT_KEK), VAULT_KEK) is OURS
    assert alarms(clouds) == {"own_access", "vendor_fault"}


def test_a_version_put_away_after_a_rotation_is_no_fault(clouds: TwoClouds) -> None:
    canary = canary_in_vault(clouds)
    watch = guard(clouds, canary)
    assert watch.ask(tenant(kek=VAULT_KEK), VAULT_KEK) is PASSED
    envelope = clouds.tenants.read("_system", f"canary:{canary.digest}")
    assert envelope is not None
    clouds.azure.rotate_key(canary.kek)
    clouds.azure.set_enabled(envelope.body["kek"], False)
    assert watch.ask(tenant(kek=VAULT_KEK), VAULT_KEK) is PASSED
    assert alarms(clouds) == set()
    clouds.azure.clear_calls()
    assert watch.ask(tenant(kek=VAULT_KEK), VAULT_KEK) is PASSED
    assert [call.operation for call in clouds.azure.calls if call.operation == "unwrapkey"] == ["unwrapkey"]
