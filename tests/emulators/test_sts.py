"""Assuming a role in the customer's account, and how long that lasts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCOUNT,
    LOCAL_PRINCIPAL,
    Incoming,
)
from tests.emulators.worlds import (
    CONTEXT,
    CUSTOMER_KEY,
    ROLE,
    Document,
    World,
    bound,
    code_of,
    policy,
    refused,
    statement,
    trust,
)

EXTERNAL = {"StringEquals": {"sts:ExternalId": "xid-1"}}
ALLOW = {"byok": policy(statement(None, "kms:*"))}


@pytest.fixture
def arn(world: World) -> str:
    """A key that leaves it to its account's identity policies, and the role that may use it."""
    world.emulator.create_role(ROLE, trust(condition=EXTERNAL), ALLOW)
    return world.emulator.create_key()


def encrypts(client: Any, arn: str) -> str:
    return code_of(lambda: client.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=CONTEXT))


def test_who_calls(world: World, arn: str) -> None:
    found = world.sts.get_caller_identity()
    assert (found["Account"], found["Arn"]) == (
        LOCAL_ACCOUNT,
        f"arn:aws:sts::{LOCAL_ACCOUNT}:assumed-role/keystead/keystead-local",
    )
    assert world.emulator.client("sts", CUSTOMER_KEY).get_caller_identity()["Arn"].endswith(":user/admin")
    answer = world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", ExternalId="xid-1")
    session = world.emulator.client("sts", answer["Credentials"]["AccessKeyId"])
    assert session.get_caller_identity()["Arn"] == f"arn:aws:sts::{CUSTOMER_ACCOUNT}:assumed-role/byok/s1"
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{CUSTOMER_ACCOUNT}:assumed-role/byok/s1"


@pytest.mark.parametrize(
    ("condition", "given", "code"),
    [
        (EXTERNAL, {"ExternalId": "xid-1"}, ""),
        (EXTERNAL, {"ExternalId": "xid-2"}, "AccessDenied"),
        (EXTERNAL, {"ExternalId": "XID-1"}, "AccessDenied"),
        (EXTERNAL, {}, "AccessDenied"),
        ({"StringLike": {"sts:ExternalId": "xid-*"}}, {"ExternalId": "xid-9"}, ""),
        ({"StringLike": {"sts:ExternalId": "*"}}, {}, "AccessDenied"),
        (None, {}, ""),
        (None, {"ExternalId": "whatever"}, ""),
    ],
)
def test_external_id(world: World, condition: Document | None, given: dict[str, str], code: str) -> None:
    world.emulator.create_role(ROLE, trust(condition=condition), ALLOW)
    assert code_of(lambda: world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", **given)) == code


@pytest.mark.parametrize(
    ("principal", "code"),
    [
        (LOCAL_PRINCIPAL, ""),
        (f"arn:aws:iam::{LOCAL_ACCOUNT}:root", ""),
        (LOCAL_ACCOUNT, ""),
        ("*", ""),
        (f"{LOCAL_PRINCIPAL}-2", "AccessDenied"),
        ("arn:aws:iam::222233334444:root", "AccessDenied"),
    ],
)
def test_whom_a_role_trusts(world: World, principal: str, code: str) -> None:
    world.emulator.create_role(ROLE, trust(principal), ALLOW)
    assert code_of(lambda: world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1")) == code


def test_the_caller_needs_the_permission_too(world: World, arn: str) -> None:
    world.emulator.add_principal("kms-only", "s", f"{LOCAL_PRINCIPAL}-2", {"a": policy(statement(None, "kms:*"))})
    world.emulator.update_trust_policy(ROLE, trust(f"{LOCAL_PRINCIPAL}-2"))
    sts = world.emulator.client("sts", "kms-only")
    refused("AccessDenied", lambda: sts.assume_role(RoleArn=ROLE, RoleSessionName="s1"))


def test_a_role_that_does_not_exist_answers_like_one_that_does_not_trust(world: World) -> None:
    world.emulator.create_role(ROLE, trust(condition=EXTERNAL), ALLOW)
    distrusted = refused("AccessDenied", lambda: world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1"))
    absent = refused("AccessDenied", lambda: world.sts.assume_role(RoleArn=f"{ROLE}-2", RoleSessionName="s1"))
    assert str(absent) == str(distrusted).replace(ROLE, f"{ROLE}-2")
    assert absent.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"DurationSeconds": 900}, ""),
        ({"DurationSeconds": 3600}, ""),
        ({"DurationSeconds": 3601}, "ValidationError"),
        ({"RoleSessionName": "a b"}, "ValidationError"),
        ({"RoleSessionName": "a" * 65}, "ValidationError"),
        ({"ExternalId": "no spaces"}, "ValidationError"),
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": json.dumps(bound())}, "MalformedPolicyDocument"),
        ({"Policy": json.dumps({**ALLOW["byok"], "Id": "x" * 2048})}, "PackedPolicyTooLarge"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "ValidationError"),
    ],
)
def test_parameters(world: World, arn: str, given: dict[str, Any], code: str) -> None:
    whole = {"RoleArn": ROLE, "RoleSessionName": "s1", "ExternalId": "xid-1", **given}
    assert code_of(lambda: world.sts.assume_role(**whole)) == code


def test_a_session_lasts_a_quarter_of_an_hour_at_least(world: World, arn: str) -> None:
    params = {"RoleArn": ROLE, "RoleSessionName": "s1", "ExternalId": "xid-1", "DurationSeconds": 899}
    with pytest.raises(ParamValidationError):
        world.sts.assume_role(**params)
    # A client that does not look hears it from the service.
    answer = world.emulator.answer(Incoming("sts", "AssumeRole", params, LOCAL_ACCESS_KEY_ID, DEFAULT_REGION))
    assert answer.error is not None
    assert answer.error.code == "ValidationError"


def test_a_user_may_ask_for_more_than_an_hour_where_the_role_allows(world: World) -> None:
    world.emulator.create_role(ROLE, trust(f"arn:aws:iam::{CUSTOMER_ACCOUNT}:root"), ALLOW, max_session=7200)
    sts = world.emulator.client("sts", CUSTOMER_KEY)
    sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", DurationSeconds=7200)
    refused("ValidationError", lambda: sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", DurationSeconds=7201))


def test_a_session_expires(world: World, arn: str) -> None:
    answer = world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", ExternalId="xid-1", DurationSeconds=900)
    credentials = answer["Credentials"]
    assert credentials["Expiration"].timestamp() == world.time + 900
    kms, sts = (world.emulator.client(service, credentials["AccessKeyId"]) for service in ("kms", "sts"))
    world.time += 899
    assert encrypts(kms, arn) == ""
    world.time += 1
    assert encrypts(kms, arn) == "ExpiredTokenException"
    refused("ExpiredToken", sts.get_caller_identity)


def test_what_ends_a_session_and_what_does_not(world: World, arn: str) -> None:
    client = world.assume(ExternalId="xid-1")
    assert encrypts(client, arn) == ""
    world.emulator.update_trust_policy(ROLE, trust(f"{LOCAL_PRINCIPAL}-2"))
    assert encrypts(client, arn) == ""
    refused("AccessDenied", lambda: world.assume(ExternalId="xid-1"))
    world.emulator.delete_role_policy(ROLE, "byok")
    assert encrypts(client, arn) == "AccessDeniedException"
    world.emulator.put_role_policy(ROLE, "byok", ALLOW["byok"])
    assert encrypts(client, arn) == ""
    world.emulator.delete_role(ROLE)
    assert encrypts(client, arn) == "AccessDeniedException"
    world.emulator.identities.deleted_role_code = "UnrecognizedClientException"
    assert encrypts(client, arn) == "UnrecognizedClientException"
    world.emulator.create_role(ROLE, trust(), ALLOW)
    assert encrypts(client, arn) == "UnrecognizedClientException", "another role of the same name"
    assert encrypts(world.assume(), arn) == ""


def test_the_console_revokes_older_sessions(world: World, arn: str) -> None:
    old = world.assume(ExternalId="xid-1")
    world.time += 60
    older = {"DateLessThan": {"aws:TokenIssueTime": "2027-01-15T08:00:30Z"}}
    deny = {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": older}
    world.emulator.put_role_policy(ROLE, "AWSRevokeOlderSessions", policy(deny))
    assert encrypts(old, arn) == "AccessDeniedException"
    assert encrypts(world.assume(ExternalId="xid-1"), arn) == ""


def test_a_session_policy_only_takes_away(world: World, arn: str) -> None:
    other = world.emulator.create_key()
    allow = {"Effect": "Allow", "Action": "kms:*", "Resource": arn}
    cut = world.assume(ExternalId="xid-1", Policy=json.dumps(policy(allow)))
    assert (encrypts(cut, arn), encrypts(cut, other)) == ("", "AccessDeniedException")
    world.emulator.put_role_policy(ROLE, "byok", policy(statement(None, "kms:DescribeKey")))
    assert encrypts(cut, arn) == "AccessDeniedException"
    assert code_of(lambda: cut.describe_key(KeyId=arn)) == ""
    named = world.key(bound(ROLE))
    assert encrypts(cut, named) == "AccessDeniedException", "nor does a key policy that names the role add to it"
    assert encrypts(world.assume(ExternalId="xid-1"), named) == ""


def test_a_session_chains_for_an_hour_at_most(world: World, arn: str) -> None:
    second = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/second"
    world.emulator.put_role_policy(ROLE, "chain", policy(statement(None, "sts:AssumeRole")))
    world.emulator.create_role(second, trust(ROLE), ALLOW, max_session=43200)
    answer = world.sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", ExternalId="xid-1")
    sts = world.emulator.client("sts", answer["Credentials"]["AccessKeyId"])
    sts.assume_role(RoleArn=second, RoleSessionName="s2", DurationSeconds=3600)
    refused("ValidationError", lambda: sts.assume_role(RoleArn=second, RoleSessionName="s2", DurationSeconds=3601))


def test_unknown_credentials(world: World) -> None:
    refused("UnrecognizedClientException", lambda: world.emulator.client("kms", "nobody").list_keys())
    refused("InvalidClientTokenId", lambda: world.emulator.client("sts", "nobody").get_caller_identity())
    with pytest.raises(ValueError, match="kms and sts"):
        world.emulator.client("s3", "nobody")  # type: ignore[arg-type]
