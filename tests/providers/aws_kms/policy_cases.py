"""What can be wrong with the policies that let this service use a key."""

from __future__ import annotations

import json

from core.providers.aws_kms.setup_kit import role_policy
from functions.emulators.kms import LOCAL_PRINCIPAL, Fault
from tests.providers.aws_kms.arrangements import (
    OURS,
    bound_to,
    by_policy,
    by_role,
    changed,
    faulty,
    then,
)
from tests.providers.aws_kms.cases import FROM_USE, NOT_DESCRIBED, NOT_LET_IN, OF_METADATA, Case, skipped
from tests.providers.aws_kms.stage import ROLE, TENANT, unbound, without

# The policy that a published guide to bringing one's own key tells tenants to give to the service, word for word.
PUBLISHED = json.loads("""
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
NO_DESCRIBE = by_policy(policy=without(OURS, "KeysteadDescribe"))
POLICY_CASES: dict[str, Case] = {
    "no crypto": Case(by_policy(policy=without(OURS, "KeysteadCrypto")), NOT_LET_IN, "round_trip", LOCAL_PRINCIPAL),
    "no decrypt": Case(
        by_policy(policy=changed(OURS, Action=["kms:Encrypt"])),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "some minutes",
    ),
    "bound to another tenant": Case(
        by_policy(tenant="another"), NOT_LET_IN, "round_trip", "kms:EncryptionContext:tenant_id"
    ),
    "nobody let in": Case(by_policy(policy=without(OURS, "KeysteadCrypto", "KeysteadDescribe")), NOT_LET_IN),
    "role without crypto": Case(
        by_role(policy=without(role_policy(TENANT), "KeysteadCrypto")),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        ROLE,
    ),
    "bound to the Region": Case(
        by_policy(policy=changed(OURS, Condition=bound_to("${aws:RequestedRegion}"))),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "${aws:RequestedRegion}",
    ),
    "the published policy": Case(
        by_role(policy=PUBLISHED),
        {
            "round_trip": "fail",
            "describe": "fail",
            "rotation": "warn",
            **skipped(*OF_METADATA, "tenant_bound"),
        },
        "round_trip",
        "${aws:RequestedRegion}",
    ),
    "not bound": Case(
        by_policy(policy=unbound(OURS)), {"tenant_bound": "fail"}, "tenant_bound", "kms:EncryptionContext:tenant_id"
    ),
    "role not bound": Case(
        by_role(policy=unbound(role_policy(TENANT))), {"tenant_bound": "fail"}, "tenant_bound", "StringEquals"
    ),
    "bound by a wildcard": Case(
        by_policy(policy=changed(OURS, Condition=bound_to(f"{TENANT}*", "StringLike"))), {"tenant_bound": "fail"}
    ),
    "bound if given": Case(
        by_policy(policy=changed(OURS, Condition=bound_to(TENANT, "StringEqualsIfExists"))), {"tenant_bound": "fail"}
    ),
    "only encrypting bound": Case(
        by_policy(
            policy={
                **OURS,
                "Statement": [
                    *changed(OURS, Action=["kms:Encrypt"])["Statement"],
                    {**unbound(OURS)["Statement"][1], "Action": ["kms:Decrypt"]},
                ],
            }
        ),
        {"tenant_bound": "fail"},
        "tenant_bound",
        "other than this tenant's",
    ),
    "unsteady": Case(
        faulty(Fault("Decrypt", code="AccessDeniedException", after=1)),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "unsteady",
    ),
    "unsteady and not bound": Case(
        faulty(Fault("Decrypt", code="AccessDeniedException", after=1), by_policy(policy=unbound(OURS))),
        {"round_trip": "fail", "tenant_bound": "fail"},
        "round_trip",
        "unsteady",
    ),
    "unsteady in other contexts": Case(
        faulty(Fault("Decrypt", reset=True, after=1, times=3)),
        {"round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "unsteady",
    ),
    "KMS silent when used": Case(
        faulty(Fault("Encrypt", reset=True)),
        {"reachable": "fail", **skipped(*OF_METADATA, *FROM_USE, "describe")},
        "reachable",
        "again later",
    ),
    "no describe": Case(
        NO_DESCRIBE,
        NOT_DESCRIBED,
        "describe",
        "DescribeKey takes no encryption context",
    ),
    "no describe, disabled": Case(
        then(NO_DESCRIBE, lambda stage, arn: stage.emulator.disable_key(arn)),
        {**NOT_DESCRIBED, "round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "Enable the key",
    ),
    "no describe, asymmetric": Case(
        by_policy(policy=without(OURS, "KeysteadDescribe"), spec="RSA_2048"),
        {**NOT_DESCRIBED, "round_trip": "fail", **skipped("tenant_bound")},
        "round_trip",
        "SYMMETRIC_DEFAULT",
    ),
    "no rotation status": Case(
        by_policy(
            policy={
                **OURS,
                "Statement": [*OURS["Statement"][:2], {**OURS["Statement"][2], "Action": "kms:DescribeKey"}],
            }
        ),
        {"rotation": "warn"},
        "rotation",
        "kms:GetKeyRotationStatus",
    ),
    "too much": Case(
        by_policy(
            policy=changed(OURS, Action=["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant"])
        ),
        {"permissions": "warn"},
        "permissions",
        "permissions beyond need: GenerateDataKey, CreateGrant",
    ),
    "role with too much": Case(
        by_role(policy=changed(role_policy(TENANT), Action=["kms:*"])),
        {"permissions": "warn"},
        "permissions",
        "ReEncrypt",
    ),
}
