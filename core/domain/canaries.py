"""Canary keys: KEKs of the operator's own, reached as tenants' KEKs are, that tell our faults from tenants' acts.

A canary says something about a tenant's KEK only if both are reached alike. What "alike" means is a `Pattern`, which
holds nothing of who the tenant is: whoever could choose the pattern could choose who vouches for the denial.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from core.domain.kek import Kek, KeyAccess, ProviderName
from core.domain.tenants import SYSTEM
from core.errors import InvalidRequest

_EXTERNAL_ID = "[A-Za-z0-9_+=,.@:/-]{2,1224}"
"""What STS takes."""
_LOCAL = "local:[a-z0-9][a-z0-9._-]{0,99}"
REVISION = 1
"""A canary's configuration is what it is named by: another one is another canary."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a KEK is reached.

    Attributes:
        provider: By which connector.
        place: AWS: partition and Region; Azure: Microsoft's cloud; else "".
        by_role: AWS: whether a role is assumed.
    """

    provider: ProviderName
    place: str = ""
    by_role: bool = False

    def __str__(self) -> str:
        told = f"{self.provider} {self.place}".rstrip()
        return f"{told} by role" if self.by_role else told


def pattern_of(kek: Kek, role_arn: str = "") -> Pattern:
    """How a KEK is reached.

    Args:
        kek: The KEK, in any of its versions.
        role_arn: As in `KeyAccess`.

    Raises:
        InvalidRequest: The locator names no key.
    """
    # The patterns in there take a cold function's time, and are needed once a key is refused.
    from core.domain.arns import KeyArn
    from core.domain.vaults import VaultKey

    provider = kek.provider
    if provider == "aws_kms":
        arn = KeyArn.parse(kek.locator)
        return Pattern(provider, f"{arn.partition} {arn.region}", bool(role_arn))
    if provider == "azure_key_vault":
        return Pattern(provider, VaultKey.parse(kek.locator).cloud)
    return Pattern(provider)


@dataclass(frozen=True, slots=True)
class Canary:
    """A KEK that the operator keeps in working order, and how it is reached.

    Attributes:
        kek: Its locator; where keys have versions, without one.
        role_arn: AWS: the role to assume; "" where the key's own policy names this service.
        entra_tenant: Azure: id of the Entra tenant that the vault belongs to, a lower-case GUID.
        external_id: AWS: what AssumeRole presents.
    """

    kek: str
    role_arn: str = ""
    entra_tenant: str = ""
    external_id: str = ""

    def check(self) -> Canary:
        """Give the canary back if it is well formed.

        Raises:
            InvalidRequest: A field is not what it must be.
        """
        from core.domain.key_target import KeyTarget

        KeyTarget(self.kek, self.role_arn, entra_tenant=self.entra_tenant).check()
        if Kek(self.kek).provider == "local" and not re.fullmatch(_LOCAL, self.kek):
            raise InvalidRequest("a local key is named local: and a name of lower-case letters, digits and hyphens")
        if bool(self.role_arn) != bool(self.external_id):
            raise InvalidRequest("a role is assumed with an external id, and an external id is for a role only")
        if self.external_id and not re.fullmatch(_EXTERNAL_ID, self.external_id):
            raise InvalidRequest("an external id has 2 to 1224 letters, digits and characters of _+=,.@:/-")
        return self

    @property
    def pattern(self) -> Pattern:
        """How it is reached: it vouches for KEKs of the same pattern."""
        return pattern_of(Kek(self.kek), self.role_arn)

    @property
    def access(self) -> KeyAccess:
        """How it is reached, in full. Without a lease: every question is asked with fresh credentials."""
        return KeyAccess(
            tenant_id=SYSTEM,
            revision=REVISION,
            kek=Kek(self.kek),
            role_arn=self.role_arn,
            external_id=self.external_id,
            lease=0,
            entra_tenant=self.entra_tenant,
        )

    @property
    def digest(self) -> str:
        """Tells it from every other; hex."""
        fields: Mapping[str, str] = asdict(self)
        return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
