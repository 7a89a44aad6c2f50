"""Grants let a principal use a key that its policy does not open, and outlive an edit of the policy."""

from __future__ import annotations

import pytest

from functions.emulators.kms import LOCAL_PRINCIPAL
from tests.emulators.worlds import CONTEXT, World, open_to, refused


@pytest.fixture
def arn(world: World) -> str:
    return str(world.customer.create_key()["KeyMetadata"]["Arn"])


def test_a_grant_lets_its_grantee_do_its_operations(world: World, arn: str) -> None:
    refused("AccessDeniedException", lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x"))
    given = world.customer.create_grant(
        KeyId=arn, GranteePrincipal=LOCAL_PRINCIPAL, Operations=["Encrypt", "DescribeKey"], Name="keystead"
    )
    blob = world.kms.encrypt(KeyId=arn, Plaintext=b"x", GrantTokens=[given["GrantToken"]])["CiphertextBlob"]
    assert world.kms.describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == arn
    refused("AccessDeniedException", lambda: world.kms.decrypt(CiphertextBlob=blob))
    listed = world.customer.list_grants(KeyId=arn)["Grants"]
    assert [(g["GrantId"], g["GranteePrincipal"], g["Name"]) for g in listed] == [
        (given["GrantId"], LOCAL_PRINCIPAL, "keystead")
    ]
    world.customer.revoke_grant(KeyId=arn, GrantId=given["GrantId"])
    refused("AccessDeniedException", lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x"))
    refused(
        "InvalidGrantTokenException",
        lambda: world.kms.encrypt(KeyId=arn, Plaintext=b"x", GrantTokens=[given["GrantToken"]]),
    )
    refused("NotFoundException", lambda: world.customer.revoke_grant(KeyId=arn, GrantId=given["GrantId"]))


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("EncryptionContextEquals", [CONTEXT]), ("EncryptionContextSubset", [CONTEXT, {**CONTEXT, "a": "b"}])],
)
def test_a_grant_may_be_bound_to_a_context(world: World, arn: str, kind: str, allowed: list[dict[str, str]]) -> None:
    world.customer.create_grant(
        KeyId=arn, GranteePrincipal=LOCAL_PRINCIPAL, Operations=["Encrypt"], Constraints={kind: CONTEXT}
    )
    contexts: list[dict[str, str]] = [CONTEXT, {**CONTEXT, "a": "b"}, {"tenant_id": "b"}, {}]
    for context in contexts:
        if context in allowed:
            world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=context)
        else:
            refused(
                "AccessDeniedException",
                lambda context=context: world.kms.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=context),  # type: ignore[misc]
            )


def test_a_grant_outlives_an_edit_of_the_policy(world: World) -> None:
    arn = world.key(open_to())
    world.kms.create_grant(KeyId=arn, GranteePrincipal=LOCAL_PRINCIPAL, Operations=["Encrypt"])
    world.emulator.put_key_policy(arn, open_to(f"{LOCAL_PRINCIPAL}-2"))
    world.kms.encrypt(KeyId=arn, Plaintext=b"x")
    refused("AccessDeniedException", lambda: world.kms.describe_key(KeyId=arn))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Operations": []}, "ValidationException"),
        ({"Operations": ["DisableKey"]}, "ValidationException"),
        ({"GranteePrincipal": "keystead"}, "InvalidArnException"),
    ],
)
def test_malformed_grants(world: World, arn: str, given: dict[str, object], code: str) -> None:
    whole = {"GranteePrincipal": LOCAL_PRINCIPAL, "Operations": ["Decrypt"], **given}
    refused(code, lambda: world.customer.create_grant(KeyId=arn, **whole))
