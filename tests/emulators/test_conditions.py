"""Operators, keys and variables of conditions, in a table; what is not known fails closed."""

from __future__ import annotations

from typing import Any

import pytest

from functions.emulators.policies import Ask, Decision, parse
from tests.emulators.worlds import Document

TENANT = "kms:EncryptionContext:tenant_id"
VALUES = {
    "kms:encryptioncontext:tenant_id": ("acme",),
    "kms:encryptioncontextkeys": ("tenant_id", "purpose"),
    "aws:requestedregion": ("eu-central-1",),
    "aws:principalarn": ("arn:aws:iam::1:role/keystead",),
    "aws:securetransport": ("true",),
    "aws:tokenissuetime": ("2026-01-01T00:00:00+00:00",),
}
ASK = Ask("kms:Decrypt", "arn:aws:kms:eu-central-1:1:key/k", frozenset(), "1", VALUES)

# Condition block -> whether it matches, or None if it cannot be told.
TABLE: dict[str, tuple[dict[str, Any], bool | None]] = {
    "equal": ({"StringEquals": {TENANT: "acme"}}, True),
    "one of": ({"StringEquals": {TENANT: ["b", "acme"]}}, True),
    "case of the value": ({"StringEquals": {TENANT: "Acme"}}, False),
    "case of the key": ({"StringEquals": {"KMS:encryptioncontext:TENANT_ID": "acme"}}, True),
    "ignoring case": ({"StringEqualsIgnoreCase": {TENANT: "ACME"}}, True),
    "like": ({"StringLike": {TENANT: "a*e"}}, True),
    "equals takes no wildcard": ({"StringEquals": {TENANT: "a*"}}, False),
    "like, nothing else is special": ({"StringLike": {TENANT: "acm."}}, False),
    "not equal": ({"StringNotEquals": {TENANT: "acme"}}, False),
    "not one of": ({"StringNotEquals": {TENANT: ["b", "acme"]}}, False),
    "not equal, absent": ({"StringNotEquals": {"aws:SourceArn": "x"}}, True),
    "not like": ({"StringNotLike": {TENANT: "b*"}}, True),
    "absent": ({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}, False),
    "absent, if it exists": ({"StringEqualsIfExists": {"kms:ViaService": "x"}}, True),
    "present, if it exists": ({"StringEqualsIfExists": {TENANT: "b"}}, False),
    "null": ({"Null": {"kms:ViaService": "true"}}, True),
    "not null": ({"Null": {TENANT: "false"}}, True),
    "null though present": ({"Null": {TENANT: "true"}}, False),
    "bool": ({"Bool": {"aws:SecureTransport": "true"}}, True),
    "bool as JSON": ({"Bool": {"aws:SecureTransport": False}}, False),
    "ARN": ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/key*"}}, True),
    "both operators": ({"StringEquals": {TENANT: "acme"}, "StringLike": {TENANT: "b*"}}, False),
    "both keys": ({"StringEquals": {TENANT: "acme", "aws:RequestedRegion": "eu-west-1"}}, False),
    "any value": ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "tenant_id"}}, True),
    "any value, none": ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "other"}}, False),
    "any value, absent": ({"ForAnyValue:StringEquals": {"aws:CalledVia": "x"}}, False),
    "all values": ({"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant_id", "purpose"]}}, True),
    "all values, one more": ({"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant_id"]}}, False),
    "all values, absent": ({"ForAllValues:StringEquals": {"aws:CalledVia": "x"}}, True),
    "variable": ({"StringEquals": {"aws:RequestedRegion": "${aws:RequestedRegion}"}}, True),
    "variable of another key": ({"StringEquals": {TENANT: "${aws:RequestedRegion}"}}, False),
    "variable with a default": ({"StringEquals": {TENANT: "${aws:SourceArn, 'acme'}"}}, True),
    "literal star": ({"StringEquals": {TENANT: "${*}"}}, False),
    "session older than": ({"DateLessThan": {"aws:TokenIssueTime": "2026-01-02T00:00:00Z"}}, True),
    "session younger than": ({"DateLessThan": {"aws:TokenIssueTime": "2025-12-31T00:00:00Z"}}, False),
    "variable without a value": ({"StringEquals": {TENANT: "${aws:SourceArn}"}}, None),
    "unknown operator": ({"StringMatches": {TENANT: "acme"}}, None),
    "unknown quantifier": ({"ForSome:StringEquals": {TENANT: "acme"}}, None),
    "unknown key": ({"StringEquals": {"kms:EncryptionContextt": "acme"}}, None),
    "unknown key behind a mismatch": ({"StringEquals": {TENANT: "b", "x:y": "z"}}, None),
    "no date": ({"DateLessThan": {"aws:TokenIssueTime": "yesterday"}}, None),
    "several values for one": ({"StringEquals": {"kms:EncryptionContextKeys": "tenant_id"}}, None),
}


def document(effect: str, condition: dict[str, Any], **fields: Any) -> Document:
    found = {"Effect": effect, "Action": "kms:*", "Resource": "*", "Condition": condition, **fields}
    return {"Version": "2012-10-17", "Statement": found}


@pytest.mark.parametrize("case", TABLE)
def test_condition(case: str) -> None:
    condition, expected = TABLE[case]
    allow, deny = (parse(document(effect, condition), "identity").decide(ASK) for effect in ("Allow", "Deny"))
    assert allow == Decision(direct=expected is True)
    assert deny == Decision(denied=expected is not False)


def test_variables_are_plain_text_in_policies_of_the_old_version() -> None:
    condition = {"StringEquals": {"aws:RequestedRegion": "${aws:RequestedRegion}"}}
    old = {**document("Allow", condition), "Version": "2008-10-17"}
    assert not parse(old, "identity").decide(ASK).direct
    del old["Version"]
    assert not parse(old, "identity").decide(ASK).direct


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"Action": "kms:Decrypt"}, True),
        ({"Action": "KMS:decrypt"}, True),
        ({"Action": ["kms:Encrypt", "kms:De*"]}, True),
        ({"Action": "kms:Encrypt"}, False),
        ({"Action": "kms:Decryp?"}, True),
        ({"Action": "*"}, True),
        ({"Resource": "arn:aws:kms:*:*:key/*"}, True),
        ({"Resource": "arn:aws:kms:eu-central-1:1:key/k"}, True),
        ({"Resource": "arn:aws:kms:eu-central-1:1:key/K"}, False),
        ({"Resource": "arn:aws:kms:eu-west-*:*:key/*"}, False),
        ({"Resource": "arn:aws:kms:${aws:RequestedRegion}:*:key/*"}, True),
        ({"Resource": "arn:aws:kms:${aws:SourceArn}:*:key/*"}, False),
        ({"Resource": ["arn:aws:s3:::b", "*"]}, True),
    ],
)
def test_actions_and_resources(fields: dict[str, Any], allowed: bool) -> None:
    assert parse(document("Allow", {}, **fields), "identity").decide(ASK).direct is allowed


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"NotAction": "kms:Encrypt"}, True),
        ({"NotAction": "kms:*"}, False),
    ],
)
def test_not_action(fields: dict[str, Any], allowed: bool) -> None:
    made = document("Allow", {}, **fields)
    del made["Statement"]["Action"]
    assert parse(made, "identity").decide(ASK).direct is allowed


def test_not_resource() -> None:
    made = document("Allow", {}, NotResource="arn:aws:kms:eu-west-1:*:key/*")
    del made["Statement"]["Resource"]
    assert parse(made, "identity").decide(ASK).direct
