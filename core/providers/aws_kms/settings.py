"""What the operator configures for AWS KMS."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """Settings of `AwsKms`.

    Attributes:
        regions: Regions in which tenants' keys may lie; none if empty.
        accounts: The platform's own accounts, besides the one its identity lies in. Keys and roles in them are refused.
        principal: ARN that tenants' policies should name; "" to find it by GetCallerIdentity. A role's path cannot be
            found that way: set this where the role has one.
        endpoint_url: Where KMS and STS are, in stage ``local`` only; "" for AWS itself.
        access_key_id: Our own credentials; "" for the SDK's default chain.
        secret_access_key: As above.
    """

    regions: frozenset[str]
    accounts: frozenset[str] = frozenset()
    principal: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
