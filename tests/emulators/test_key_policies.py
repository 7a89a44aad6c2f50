"""Who may use a key: key policies, identity policies and accounts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.emulators.aws_errors import AwsError
from functions.emulators.kms import CUSTOMER_ACCOUNT, LOCAL_ACCOUNT, LOCAL_PRINCIPAL
from functions.emulators.policies import parse
from tests.emulators.worlds import (
    CONTEXT,
    CUSTOMER,
    ROLE,
    Document,
    World,
    bound,
    code_of,
    open_to,
    policy,
    refused,
    statement,
    trust,
)

# What the second source document tells tenants to attach, verbatim.
SECOND_SOURCE = json.loads("""
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": [
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:GenerateDataKey"
      ],
      "Resource": "arn:aws:kms:*:*:key/*",
      "Condition": {
        "StringEquals": {
          "kms:EncryptionContext:tenant_id": "${aws:RequestedRegion}"
        }
      }
    }
  ]
}
""")


def use(client: Any, arn: str, context: dict[str, str] | None = None) -> str:
    """The code Encrypt is refused with, or ""."""
    given = CONTEXT if context is None else context
    return code_of(lambda: client.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=given))


def describe(client: Any, arn: str) -> str:
    return code_of(lambda: client.describe_key(KeyId=arn))


def test_the_recommended_policy_binds_the_tenant(world: World) -> None:
    arn = world.key()
    assert use(world.kms, arn) == ""
    assert use(world.kms, arn, {**CONTEXT, "purpose": "probe"}) == ""
    assert use(world.kms, arn, {"tenant_id": "other"}) == "AccessDeniedException"
    assert use(world.kms, arn, {}) == "AccessDeniedException"
    assert describe(world.kms, arn) == ""
    assert code_of(lambda: world.kms.create_grant(KeyId=arn, GranteePrincipal=CUSTOMER, Operations=["Decrypt"])) == (
        "AccessDeniedException"
    )


def test_the_second_source_documents_policy_fits_no_tenant(world: World) -> None:
    """As a role's policy, verbatim: only the name of a Region is a tenant's id to it, and DescribeKey never works."""
    arn = world.key(policy(statement(f"arn:aws:iam::{CUSTOMER_ACCOUNT}:root", "kms:*")))
    world.emulator.create_role(ROLE, trust(), {"byok": SECOND_SOURCE})
    client = world.assume()
    assert use(client, arn) == "AccessDeniedException"
    assert use(client, arn, {"tenant_id": "eu-central-1"}) == ""
    assert describe(client, arn) == "AccessDeniedException"


def test_the_second_source_documents_policy_is_no_key_policy_until_it_names_a_principal(world: World) -> None:
    with pytest.raises(AwsError, match="MalformedPolicyDocumentException"):
        world.key(SECOND_SOURCE)
    named = json.loads(json.dumps(SECOND_SOURCE))
    named["Statement"][0]["Principal"] = {"AWS": LOCAL_PRINCIPAL}
    arn = world.key(named)
    assert use(world.kms, arn) == "AccessDeniedException"
    assert use(world.kms, arn, {"tenant_id": "eu-central-1"}) == ""
    assert describe(world.kms, arn) == "AccessDeniedException"


# Principal of the key policy -> what the vendor's role and the customer's user hear.
PRINCIPALS = {
    "the vendor's role": (LOCAL_PRINCIPAL, "", "AccessDeniedException"),
    "the vendor's account": (f"arn:aws:iam::{LOCAL_ACCOUNT}:root", "", "AccessDeniedException"),
    "the vendor's account number": (LOCAL_ACCOUNT, "", "AccessDeniedException"),
    "the role's session": (
        f"arn:aws:sts::{LOCAL_ACCOUNT}:assumed-role/keystead/keystead-local",
        "",
        "AccessDeniedException",
    ),
    "another session": (
        f"arn:aws:sts::{LOCAL_ACCOUNT}:assumed-role/keystead/other",
        "AccessDeniedException",
        "AccessDeniedException",
    ),
    "another role": (f"{LOCAL_PRINCIPAL}-2", "AccessDeniedException", "AccessDeniedException"),
    "everybody": ("*", "", ""),
    "the customer's account": (f"arn:aws:iam::{CUSTOMER_ACCOUNT}:root", "AccessDeniedException", ""),
    "the customer's user": (CUSTOMER, "AccessDeniedException", ""),
}


@pytest.mark.parametrize("case", PRINCIPALS)
def test_principals(world: World, case: str) -> None:
    principal, vendor, customer = PRINCIPALS[case]
    arn = world.key(open_to(principal))
    assert (use(world.kms, arn), describe(world.kms, arn)) == (vendor, vendor)
    assert (use(world.customer, arn), describe(world.customer, arn)) == (customer, customer)


# Statement for the vendor in its own account's identity policy -> same account by delegation, same account named,
# other account named.
IDENTITIES: dict[str, tuple[dict[str, Document], str, str, str]] = {
    "everything": ({"a": policy(statement(None, "kms:*"))}, "", "", ""),
    "nothing": ({}, "AccessDeniedException", "", "AccessDeniedException"),
    "another action": (
        {"a": policy(statement(None, "kms:Decrypt"))},
        "AccessDeniedException",
        "",
        "AccessDeniedException",
    ),
    "denied": (
        {
            "a": policy(statement(None, "kms:*")),
            "b": policy({"Effect": "Deny", "Action": "kms:Enc*", "Resource": "*"}),
        },
        *("AccessDeniedException", "AccessDeniedException", "AccessDeniedException"),
    ),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_identity_policies(world: World, case: str) -> None:
    policies, delegated, named, across = IDENTITIES[case]
    role = f"arn:aws:iam::{LOCAL_ACCOUNT}:role/other"
    world.emulator.add_principal("other", "secret", role, policies)
    client = world.emulator.client("kms", "other")
    own = world.key(open_to(f"arn:aws:iam::{LOCAL_ACCOUNT}:root"), account=LOCAL_ACCOUNT)
    assert use(client, own) == delegated
    assert use(client, world.key(open_to(role), account=LOCAL_ACCOUNT)) == named
    assert use(client, world.key(open_to(role))) == across


def test_a_deny_in_the_key_policy_wins(world: World) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
    arn = world.key(policy(*open_to()["Statement"], deny))
    blob = world.kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    refused("AccessDeniedException", lambda: world.kms.decrypt(CiphertextBlob=blob))


def test_an_edited_policy_bites_at_once(world: World) -> None:
    arn = world.key()
    assert use(world.kms, arn) == ""
    world.emulator.put_key_policy(arn, bound(f"{LOCAL_PRINCIPAL}-2"))
    assert use(world.kms, arn) == "AccessDeniedException"
    world.emulator.put_key_policy(arn, bound())
    assert use(world.kms, arn) == ""


def test_a_key_without_a_policy_of_its_own_is_its_accounts(world: World) -> None:
    arn = world.emulator.create_key()
    assert use(world.kms, arn) == "AccessDeniedException"
    assert use(world.customer, arn) == ""


def test_re_encrypt_needs_a_permission_on_each_key(world: World) -> None:
    source = world.key(policy(statement(LOCAL_PRINCIPAL, ["kms:Encrypt", "kms:ReEncryptFrom"])))
    target = world.key(policy(statement(LOCAL_PRINCIPAL, ["kms:Encrypt", "kms:ReEncryptTo"])))
    blobs = [world.kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"] for arn in (source, target)]
    assert world.kms.re_encrypt(CiphertextBlob=blobs[0], DestinationKeyId=target)["KeyId"] == target
    refused("AccessDeniedException", lambda: world.kms.re_encrypt(CiphertextBlob=blobs[1], DestinationKeyId=target))
    refused("AccessDeniedException", lambda: world.kms.re_encrypt(CiphertextBlob=blobs[0], DestinationKeyId=source))


@pytest.mark.parametrize(
    "operation",
    [
        *("get_key_policy", "disable_key", "enable_key", "enable_key_rotation", "disable_key_rotation"),
        *("schedule_key_deletion", "cancel_key_deletion", "rotate_key_on_demand"),
    ],
)
def test_management_does_not_work_across_accounts(world: World, operation: str) -> None:
    arn = world.key(open_to())
    refused("AccessDeniedException", lambda: getattr(world.kms, operation)(KeyId=arn))


@pytest.mark.parametrize(
    "case",
    [
        '{"Version":"2012-10-17"',
        {},
        {"Statement": []},
        {"Version": "2020-01-01", "Statement": [statement("*", "*")]},
        policy(statement(None, "kms:*")),
        policy({**statement("*", "kms:*"), "Effect": "Permit"}),
        policy({**statement("*", "kms:*"), "NotPrincipal": "*"}),
        policy({**statement("*", "kms:*"), "NotAction": "kms:*"}),
        policy({**statement("*", "kms:*"), "Condition": []}),
        policy({**statement("*", "kms:*"), "Resource": 5}),
        policy(statement("arn:aws:iam::*:role/keystead", "kms:*")),
        policy(statement("keystead", "kms:*")),
        policy(statement("<YOUR-ACCOUNT>", "kms:*")),
        policy(statement("arn:aws:iam::<YOUR-ACCOUNT>:root", "kms:*")),
        policy(statement("arn:aws:iam::<YOUR-ACCOUNT>:role/keystead", "kms:*")),
        policy(statement("arn:aws:iam::1:root", "kms:*")),
        policy(statement("arn:aws:iam::111122223333:role", "kms:*")),
        policy(statement("arn:aws:kms:eu-central-1:111122223333:key/k", "kms:*")),
        policy({"Effect": "Allow", "Principal": "*", "Action": "kms:*"}),
        policy({**statement("*", "kms:*"), "Principal": {"Everybody": "*"}}),
        policy({**statement("*", "kms:*"), "Principal": "arn:aws:iam::111122223333:root"}),
    ],
)
def test_malformed_key_policies(case: Any) -> None:
    with pytest.raises(AwsError) as caught:
        parse(case, "key")
    assert caught.value.code == "MalformedPolicyDocumentException"


@pytest.mark.parametrize("principal", ["111122223333", "arn:aws:iam::111122223333:root", CUSTOMER, ROLE, "*"])
def test_principals_that_can_be_named(principal: str) -> None:
    parse(trust(principal), "trust")
    parse(policy(statement(principal, "kms:*")), "key")


@pytest.mark.parametrize(
    "resource", ["<KEY-ARN>", "key/1", "", "arn:aws:kms", ["*", "<KEY-ARN>"], "arn:aws:kms:<REGION>:1:key/k"]
)
def test_identity_policies_name_arns(resource: Any) -> None:
    for field in ("Resource", "NotResource"):
        with pytest.raises(AwsError) as caught:
            parse(policy({"Effect": "Allow", "Action": "kms:*", field: resource}), "identity")
        assert caught.value.code == "MalformedPolicyDocumentException"


def test_a_placeholder_is_refused_over_the_wire(world: World) -> None:
    refused(
        "MalformedPolicyDocumentException",
        lambda: world.customer.create_key(Policy=json.dumps(open_to("arn:aws:iam::<YOUR-ACCOUNT>:root"))),
    )


def test_a_policy_has_at_most_32_kib() -> None:
    with pytest.raises(AwsError) as caught:
        parse(json.dumps(policy(statement("*", ["kms:Decrypt"] * 4000))), "key")
    assert caught.value.code == "LimitExceededException"
