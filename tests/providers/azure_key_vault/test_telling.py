"""What an examination tells of a key that is not its examiner's: nothing, not even whether there is one.

This service may use the key, and for another tenant does. The vault cannot tell who asks this service to ask.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.domain.kek import KeyAccess
from core.providers.azure_key_vault.checklist import NAMES, PROOF_TAG
from tests.providers.azure_key_vault.arrangements import DAY, Arrange, faulty, fit, then
from tests.providers.azure_key_vault.examination_cases import EVERYTHING
from tests.providers.azure_key_vault.stage import CLIENT_ID, CONTEXT, EXTERNAL_ID, OTHER_TENANT, SECRET, Stage

VICTIMS = {PROOF_TAG: "xid-VICTIM-0123456789abcdef"}


def tagged(**tags: Any) -> Arrange:
    return fit(tags={name.replace("_", "-"): value for name, value in tags.items()})


def dated(name: str, seconds: int) -> Arrange:
    return lambda stage: fit(tags=VICTIMS, **{name: int(stage.clock.wall()) + seconds})(stage)


def in_vault(act: Callable[[Stage, str], object]) -> Arrange:
    return then(lambda stage, key: act(stage, key.partition("/keys/")[0]), fit(tags=VICTIMS))


def to_key(act: Callable[[Stage, str], object]) -> Arrange:
    return then(act, fit(tags=VICTIMS))


def purged(stage: Stage, key: str) -> None:
    stage.emulator.delete_key(key)
    stage.emulator.purge_key(key)


STATES: dict[str, Arrange] = {
    "absent": then(lambda stage, key: stage.emulator.delete_key(key), fit(tags=VICTIMS)),
    "purged": then(purged, fit(tags=VICTIMS, purge_protection=False)),
    "without a role": in_vault(lambda stage, url: stage.emulator.revoke(url, CLIENT_ID)),
    "with a role on another key": fit(tags=VICTIMS, scope="another"),
    "with a role that does not read": fit(tags=VICTIMS, actions=("wrap", "unwrap")),
    "without an access policy": then(
        lambda stage, key: stage.emulator.revoke(key.partition("/keys/")[0], CLIENT_ID),
        fit(tags=VICTIMS, access="policy"),
    ),
    "behind a firewall": in_vault(lambda stage, url: stage.emulator.set_network(url, "firewall")),
    "behind a private link": in_vault(lambda stage, url: stage.emulator.set_network(url, "private")),
    "behind a private link that refuses at once": faulty(
        "challenge", fit(tags=VICTIMS), status=403, inner="ForbiddenByConnection"
    ),
    "refused by a code nobody knows": faulty("get", fit(tags=VICTIMS), status=403, inner="SomethingNew"),
    "refused without a reason": faulty("get", fit(tags=VICTIMS), status=403),
    "refused as a bad request": faulty("get", fit(tags=VICTIMS), status=400),
    "being deleted or recovered": faulty("get", fit(tags=VICTIMS), status=409),
    "gone": faulty("get", fit(tags=VICTIMS), status=410, code="Gone"),
    "refused as a request that is wrong": faulty("get", fit(tags=VICTIMS), status=412, code="ConditionNotMet"),
    "answering with another key": faulty("get", fit(tags=VICTIMS), corrupt="other_key"),
    "answering with no key": faulty("get", fit(tags=VICTIMS), corrupt="no_kid"),
    "with its owner's tag": fit(tags=VICTIMS),
    "without tags": fit(tags={}),
    "with another tag": tagged(environment="production"),
    "with an empty tag": tagged(keystead_proof=""),
    "with part of our tag": tagged(keystead_proof=EXTERNAL_ID[:-1]),
    "with more than our tag": tagged(keystead_proof=f"{EXTERNAL_ID}0"),
    "with our tag in upper case": tagged(keystead_proof=EXTERNAL_ID.upper()),
    "with our tag under another name": tagged(Keystead_Proof=EXTERNAL_ID),
    "with a tag in another script": tagged(keystead_proof="ключ"),
    "disabled": to_key(lambda stage, key: stage.emulator.set_enabled(key, False)),
    "an elliptic curve key": fit(tags=VICTIMS, kty="EC", size=256, key_ops=None),
    "of AES": fit(tags=VICTIMS, kty="oct-HSM", size=256),
    "of 3072 bits": fit(tags=VICTIMS, size=3072),
    "expired": dated("exp", -DAY),
    "not valid yet": dated("nbf", DAY),
    "about to expire": dated("exp", DAY),
    "for signing": fit(tags=VICTIMS, key_ops=("sign", "verify")),
    "without purge protection": fit(tags=VICTIMS, purge_protection=False),
    "without soft delete": fit(tags=VICTIMS, soft_delete_days=0),
    "with access policies": fit(tags=VICTIMS, access="policy", scope=""),
    "with a broad role": fit(tags=VICTIMS, actions=EVERYTHING, scope=""),
    "rotated": to_key(lambda stage, key: stage.emulator.rotate_key(key)),
}


def told(stage: Stage, access: KeyAccess) -> str:
    return json.dumps(stage.kms.examine(access, CONTEXT).to_body())


@pytest.fixture
def nobodys(stage: Stage) -> str:
    """What is told of a key that there is not, in a vault that there is."""
    access = fit()(stage)
    return told(stage, replace(access, kek=type(access.kek)(f"{access.kek.locator}-missing")))


@pytest.mark.parametrize("state", STATES)
def test_every_key_looks_like_none(stage: Stage, nobodys: str, state: str, caplog: pytest.LogCaptureFixture) -> None:
    access = STATES[state](stage)
    stage.emulator.clear_calls()
    with caplog.at_level(logging.INFO, "keystead.azure"):
        assert told(stage, access) == nobodys
    # One question, which reads: the same effort, whatever there is.
    assert [name for name in stage.made() if name not in ("discovery", "token", "challenge", "get")] == []
    assert len(stage.made("get")) <= 1
    (line,) = [record.getMessage() for record in caplog.records if record.name == "keystead.azure"]
    assert f"examination of {access.kek} for tenant {access.tenant_id}: " in line
    assert not [secret for secret in (EXTERNAL_ID, SECRET, VICTIMS[PROOF_TAG]) if secret in line]


def test_what_is_told_then(nobodys: str) -> None:
    body = json.loads(nobodys)
    found = {check["name"]: check for check in body["checks"]}
    assert not body["ok"]
    assert [name for name, check in found.items() if check["result"] == "fail"] == ["proof_of_control"]
    withheld = NAMES[NAMES.index("proof_of_control") + 1 :]
    assert withheld[0] == "exists"
    assert {found[name]["result"] for name in withheld} == {"skip"}
    assert {found[name]["observed"] for name in withheld} == {"told only to whom the key's tag names"}
    remedy = found["proof_of_control"]["remedy"]
    steps = [remedy.index(words) for words in ("key exists", "has the role", "tag keystead-proof", "firewall")]
    assert steps == sorted(steps)
    assert "keystead key setup" in remedy
    assert "10 minutes" in remedy


def test_the_operator_can_tell_the_reasons_apart(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    states = {
        "absent": "KeyNotFound",
        "without a role": "ForbiddenByRbac",
        "without an access policy": "ForbiddenByPolicy",
        "behind a firewall": "ForbiddenByFirewall",
        "behind a private link": "ForbiddenByConnection",
        "without tags": "no tag",
        "answering with another key": "not the key",
        "with its owner's tag": "another tenant's, or wrong",
    }
    for state, words in states.items():
        caplog.clear()
        with caplog.at_level(logging.INFO, "keystead.azure"):
            told(stage, STATES[state](stage))
        assert words in caplog.text
        stage.emulator.clear_faults()


def test_managed_hsms_tell_as_little(stage: Stage) -> None:
    hsm: dict[str, Any] = {"hsm": True, "kty": "oct-HSM", "size": 256}
    access = fit(**hsm)(stage)
    nobodys = told(stage, replace(access, kek=type(access.kek)(f"{access.kek.locator}-missing")))
    assert "Managed HSM Crypto Service Encryption User" in nobodys
    for arrange in (
        then(lambda stage, key: stage.emulator.delete_key(key), fit(tags=VICTIMS, **hsm)),
        then(lambda stage, key: stage.emulator.rotate_key(key), fit(tags=VICTIMS, **hsm)),
        fit(tags=VICTIMS, hsm=True, kty="RSA-HSM"),
        faulty("get", fit(tags=VICTIMS, **hsm), corrupt="other_version"),
        faulty("get", fit(tags=VICTIMS, **hsm), corrupt="no_kid"),
        fit(tags=VICTIMS, **hsm),
        fit(tags=VICTIMS, **{**hsm, "size": 128}),
        fit(tags=VICTIMS, enabled=False, **hsm),
        fit(tags=VICTIMS, scope="another", **hsm),
    ):
        access = arrange(stage)
        stage.emulator.clear_calls()
        assert told(stage, access) == nobodys
        assert stage.made("get") == ["get"]
        assert {*stage.made()} <= {"discovery", "token", "challenge", "get"}
        stage.emulator.clear_faults()


def test_a_key_is_its_owners_only(stage: Stage) -> None:
    """Two tenants, one key: whose tag it bears is told everything, the other nothing."""
    mine = fit()(stage)
    others = replace(mine, tenant_id=OTHER_TENANT, external_id=VICTIMS[PROOF_TAG])
    assert stage.kms.examine(mine, CONTEXT).ok
    assert not stage.kms.examine(others, {**CONTEXT, "tenant_id": OTHER_TENANT}).ok
    stage.emulator.set_tags(mine.kek.locator, VICTIMS)
    assert not stage.kms.examine(mine, CONTEXT).ok
    assert stage.kms.examine(others, {**CONTEXT, "tenant_id": OTHER_TENANT}).ok
