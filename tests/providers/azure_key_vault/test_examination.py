"""Examinations: good keys pass, and each fault fails its own check, with a remedy that names it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from core.domain.checks import Report
from core.domain.kek import KEY_BYTES, Kek, UnwrappedKey
from core.domain.vaults import VaultKey
from core.errors import InvalidRequest
from core.providers.azure_key_vault import connector, examination
from core.providers.azure_key_vault.attributes import KeyAttributes
from core.providers.azure_key_vault.base64url import base64url
from core.providers.azure_key_vault.calls import Answer, Request
from core.providers.azure_key_vault.checklist import NAMES, PROOF_TAG, Checklist
from core.providers.azure_key_vault.key_checks import check_key
from core.providers.azure_key_vault.permissions import check_permissions, check_rotation
from core.providers.azure_key_vault.provider import AzureKeyProvider
from tests.providers.azure_key_vault.arrangements import fit
from tests.providers.azure_key_vault.examination_cases import CASES, EVERYTHING, Case
from tests.providers.azure_key_vault.stage import CLIENT_ID, CONTEXT, EXTERNAL_ID, OTHER_DIRECTORY, SECRET, Stage

READS = {"discovery", "token", "challenge", "get"}
HARMLESS = {*READS, "wrapkey", "unwrapkey", "encrypt", "list", "list-deleted", "rotationpolicy"}


def results(report: Report) -> dict[str, str]:
    """What did not simply pass."""
    return {check.name: check.result.value for check in report.checks if check.result.value != "pass"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_examination(stage: Stage, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    access = case.arrange(stage)
    report = stage.kms.examine(access, CONTEXT)
    assert tuple(check.name for check in report.checks) == NAMES
    wanted = {name: result for name, result in case.found.items() if result != "pass"}
    assert results(report) == wanted
    assert report.ok == (not {"fail", "skip"} & {*wanted.values()})
    found = {check.name: check for check in report.checks}
    if case.check:
        assert case.words in f"{found[case.check].observed} {found[case.check].remedy}"
    for check in report.checks:
        assert check.observed
        assert bool(check.remedy) == (check.result.value in ("warn", "fail"))
        for secret in (EXTERNAL_ID, SECRET):
            assert secret not in f"{check.observed} {check.remedy}"
    if found["proof_of_control"].result.value != "pass":
        assert {*stage.made()} <= READS
    assert {*stage.made()} <= HARMLESS
    told = " ".join(record.getMessage() for record in caplog.records)
    assert not [secret for secret in (EXTERNAL_ID, SECRET) if secret in told]


def test_an_examination_changes_nothing(stage: Stage) -> None:
    access = fit(actions=(*EVERYTHING, "create", "update", "rotate", "delete", "recover", "purge"), scope="")(stage)
    before = stage.emulator.revision
    stage.kms.examine(access, CONTEXT)
    assert stage.emulator.revision == before


def test_one_version_is_examined_from_beginning_to_end(stage: Stage) -> None:
    """The newest, whichever is named; what was wrapped would stand under that version's own name."""
    access = fit()(stage)
    old = stage.emulator.vaults.at(VaultKey.parse(access.kek.locator).host)
    assert old is not None
    first = Kek(old.kid(old.keys["kek"], old.keys["kek"].version("")))
    newest = stage.emulator.rotate_key(access.kek.locator).rpartition("/")[2]
    stage.emulator.set_enabled(first.locator, False)
    report = stage.kms.examine(replace(access, kek=first), CONTEXT)
    assert report.ok
    used = {call.version for call in stage.emulator.calls if call.operation in ("wrapkey", "unwrapkey", "encrypt")}
    assert used == {newest}


def test_the_newest_versions_tag_counts(stage: Stage) -> None:
    access = fit()(stage)
    stage.emulator.set_tags(stage.emulator.rotate_key(access.kek.locator), {})
    assert results(stage.kms.examine(access, CONTEXT))["proof_of_control"] == "fail"


def test_an_examination_leaves_no_session_behind(stage: Stage) -> None:
    access = replace(fit()(stage), lease=3600)
    stage.kms.examine(access, CONTEXT)
    stage.emulator.clear_calls()
    stage.kms.connect(access).describe(access.kek)
    assert stage.made("token", "get") == ["token", "get"]


@pytest.mark.parametrize(
    "locator",
    ["https://kv.vault.azure.net/secrets/kek", "https://KV-one.vault.azure.net/keys/kek", "local:platform", ""],
)
def test_what_is_no_key_of_azure(stage: Stage, locator: str) -> None:
    with pytest.raises(InvalidRequest):
        stage.kms.examine(stage.access(Kek(locator)), CONTEXT)
    assert stage.made() == []


@pytest.mark.parametrize("entra_tenant", ["", "contoso.onmicrosoft.com", OTHER_DIRECTORY.replace("4", "A")])
def test_what_is_no_id_of_an_entra_tenant(stage: Stage, entra_tenant: str) -> None:
    with pytest.raises(InvalidRequest):
        stage.kms.examine(replace(fit()(stage), entra_tenant=entra_tenant), CONTEXT)


@pytest.mark.parametrize(
    ("operation", "check"), [("token", "consent"), ("challenge", "reachable"), ("get", "reachable")]
)
def test_an_examination_of_what_hangs_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, operation: str, check: str
) -> None:
    monkeypatch.setattr(examination, "ENTRY_SECONDS", 0.3)
    access = fit()(stage)
    stage.fault(operation, hang=True)
    assert results(stage.kms.examine(access, CONTEXT))[check] == "fail"


def test_the_whole_examination_has_one_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call would have time of its own; together they have no more than all of it."""
    monkeypatch.setattr(connector, "EXAMINATION_SECONDS", 1.0)
    access = fit()(stage)
    for operation in ("unwrapkey", "encrypt", "list-deleted", "list", "rotationpolicy"):
        stage.fault(operation, hang=True)
    found = results(stage.kms.examine(access, CONTEXT))
    assert found == {"round_trip": "fail", "permissions": "warn", "rotation": "warn"}
    assert "rotationpolicy" not in stage.made()


def test_without_time_nobody_is_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "ENTRY_SECONDS", 0.0)
    assert results(stage.kms.examine(fit()(stage), CONTEXT))["consent"] == "fail"
    assert stage.made() == []


def test_another_key_than_was_wrapped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No vault can do that where the context's digest holds; if it ever does, nothing passes."""
    monkeypatch.setattr(AzureKeyProvider, "unwrap", lambda *_: UnwrappedKey(bytes(KEY_BYTES)))
    found = {check.name: check for check in stage.kms.examine(fit()(stage), CONTEXT).checks}["round_trip"]
    assert (found.result.value, found.observed) == ("fail", "another key came back than was wrapped")


def test_a_token_is_asked_for_once_by_an_examination_that_is_not_refused(stage: Stage) -> None:
    stage.kms.examine(fit(actions=EVERYTHING, scope="", key_ops=None)(stage), CONTEXT)
    assert stage.attempts()["token"] == 1


NOW = 1_800_000_000
MADE = {"enabled": True, "created": NOW, "updated": NOW, "recoveryLevel": "Recoverable", "recoverableDays": 90}
KEY = {"kid": f"https://kv-one.vault.azure.net/keys/kek/{'0' * 32}", "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"]}
FIT = replace(KeyAttributes.of(Answer({"key": KEY, "attributes": MADE}, {}, "request", NOW), lambda: 0.0), bits=3072)


@pytest.mark.parametrize(
    ("found", "key", "attributes", "check", "result", "observed"),
    [
        ({"bits": 4096}, {}, {}, "size", "pass", "the key has 4096 bits"),
        ({"bits": 1024}, {}, {}, "size", "fail", "the key has 1024 bits"),
        ({"bits": 0}, {}, {}, "size", "fail", "the key has an unknown number of bits"),
        ({"bits": 0, "type": "oct-HSM"}, {"key_size": 256}, {}, "size", "pass", "the key has 256 bits"),
        ({"bits": 0, "type": "oct-HSM"}, {"key_size": 192}, {}, "size", "fail", "the key has 192 bits"),
        ({"type": "oct"}, {}, {}, "type", "fail", "the key's type is none of RSA, RSA-HSM and oct-HSM"),
        ({"type": "EC-HSM"}, {}, {}, "type", "fail", "EC-HSM: elliptic curve keys sign and cannot wrap"),
        ({"not_before": NOW}, {}, {}, "validity", "pass", "valid and does not expire"),
        ({"not_before": NOW + 1}, {}, {}, "validity", "fail", "not valid before 2027-01-15 08:00 UTC"),
        ({"expires": NOW}, {}, {}, "validity", "fail", "expired on 2027-01-15 08:00 UTC"),
        ({"expires": NOW + 1}, {}, {}, "validity", "warn", "expires on 2027-01-15 08:00 UTC"),
        ({"expires": 10**18}, {}, {}, "validity", "warn", "expires on a date that no calendar has"),
        ({}, {}, {"recoveryLevel": "Recoverable+ProtectedSubscription"}, "recovery", "pass", "not be purged before"),
        (
            {},
            {},
            {"recoveryLevel": "CustomizedRecoverable", "recoverableDays": 30},
            "recovery",
            "pass",
            "not be purged",
        ),
        (
            {},
            {},
            {"recoveryLevel": "CustomizedRecoverable", "recoverableDays": 29},
            "recovery",
            "warn",
            "for 29 days only",
        ),
        ({}, {}, {"recoveryLevel": "Recoverable+Purgeable"}, "recovery", "warn", "but also purged"),
        ({}, {}, {"recoveryLevel": "Purgeable"}, "recovery", "fail", "soft delete is off"),
        ({}, {}, {"recoveryLevel": None}, "recovery", "warn", "not told whether"),
        ({}, {}, {"recoveryLevel": "Something+New", "recoverableDays": "7"}, "recovery", "warn", "not told whether"),
    ],
)
def test_what_a_key_tells_of_itself(
    found: dict[str, Any], key: dict[str, Any], attributes: dict[str, Any], check: str, result: str, observed: str
) -> None:
    checks = Checklist()
    told_of = {**MADE, **attributes}
    read = KeyAttributes.of(Answer({"key": KEY, "attributes": told_of}, {}, "request", NOW), lambda: 0.0)
    body = {"key": key, "attributes": told_of}
    check_key(checks, replace(read, **{"bits": 3072, **found}), Answer(body, {}, "request", NOW))
    told = next(each for each in checks.report().checks if each.name == check)
    assert told.result.value == result
    assert observed in told.observed


@pytest.mark.parametrize(
    ("found", "algorithm", "size"),
    [({}, "RSA-OAEP-256", 384), ({"type": "oct-HSM", "bits": 0}, "A256GCM", 32)],
)
def test_what_is_tried_could_succeed(found: dict[str, Any], algorithm: str, size: int) -> None:
    """A request that no role could get answered would tell nothing of the role."""
    tried: list[Request] = []
    version = FIT.version

    def ask(request: Request) -> Answer:
        tried.append(request)
        return Answer({"kid": str(version), "value": base64url(bytes(size))}, {}, "request", NOW)

    checks = Checklist()
    check_permissions(checks, ask, replace(FIT, **found), is_hsm=True, has_roles=True)
    assert [request.operation for request in tried] == ["encrypt", "list-deleted", "list"]
    assert tried[0].body is not None
    assert tried[0].body["alg"] == algorithm
    assert tried[0].accept(ask(tried[0]))
    told = {check.name: check.observed for check in checks.report().checks}
    assert "encrypt with the key, list deleted keys, list the vault's other keys" in told["permissions"]


@pytest.mark.parametrize(
    ("actions", "result"),
    [
        ([{"action": {"type": "Rotate"}}], "pass"),
        ([{"action": {"type": "Notify"}}, {"action": {"type": "rotate"}}], "pass"),
        ([{"action": {"type": "Notify"}}], "warn"),
        ([], "warn"),
        (["Rotate", {"action": "Rotate"}, {"action": {"type": 1}}, {}], "warn"),
    ],
)
def test_rotation_policies(actions: list[Any], result: str) -> None:
    checks = Checklist()
    check_rotation(checks, Answer({"lifetimeActions": actions}, {}, "request", NOW))
    told = checks.report().checks[-1]
    assert (told.name, told.result.value) == ("rotation", result)
    assert "the old one must stay enabled" in told.observed


def test_the_tag_is_the_one_that_tenants_are_told(stage: Stage) -> None:
    assert PROOF_TAG == "keystead-proof"
    assert stage.kms.setup_kit("acme", EXTERNAL_ID)["documents"]["tags"] == {PROOF_TAG: EXTERNAL_ID}
    assert CLIENT_ID in stage.kms.setup_kit("acme", EXTERNAL_ID)["identity"]
