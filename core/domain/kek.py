"""Key-encryption keys by name, and keys wrapped by them: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.errors import InvalidRequest

KEY_BYTES = 32
ProviderName = Literal["local", "aws_kms", "azure_key_vault"]


@dataclass(frozen=True, slots=True)
class Kek:
    """Names one key-encryption key, as stored in a branch key row's ``kms-arn``.

    Attributes:
        locator: A KMS key ARN, a Key Vault key identifier (in a stored row always with its version), or
            ``local:<name>``.
    """

    locator: str

    @property
    def provider(self) -> ProviderName:
        """Which provider reaches it, told by the locator's form.

        Raises:
            InvalidRequest: The locator has none of the known forms.
        """
        if self.locator.startswith("local:"):
            return "local"
        if self.locator.startswith("arn:"):
            return "aws_kms"
        if self.locator.startswith("https://"):
            return "azure_key_vault"
        raise InvalidRequest("a key must be named by an ARN, a Key Vault key identifier or local:<name>")

    @property
    def versioned(self) -> bool:
        """Whether its provider's keys have versions that are named one by one."""
        return self.locator.startswith("https://")

    @property
    def key(self) -> Kek:
        """The key itself, whichever of its versions this is."""
        if not self.versioned:
            return self
        return Kek("/".join(self.locator.split("/")[:5]))

    @property
    def version(self) -> str:
        """Which of the key's versions this is; "" for the key itself, and where there are none."""
        return self.locator[len(self.key.locator) + 1 :]

    def __str__(self) -> str:
        return self.locator


@dataclass(frozen=True, slots=True)
class KeyAccess:
    """How this service reaches one tenant's KEK. Whatever a provider caches for it is keyed by tenant and revision.

    Attributes:
        tenant_id: The tenant.
        revision: The tenant's configuration revision.
        kek: The KEK, in any of its versions, and no other.
        role_arn: AWS: the role to assume; "" where the key's own policy names this service.
        entra_tenant: Azure: id of the Entra tenant that the vault belongs to, a lower-case GUID.
        external_id: What proves that a key is this tenant's to offer; made by this service, one per tenant, never
            reused. AWS: AssumeRole presents it. Azure: the key carries it in a tag.
        lease: Seconds for which a session may be used again.
    """

    tenant_id: str
    revision: int
    kek: Kek
    role_arn: str = ""
    external_id: str = ""
    lease: float = 0
    entra_tenant: str = ""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key wrapped by a KEK.

    Attributes:
        kek: The KEK, with its version where the provider has versions.
        ciphertext: What the provider's wrap gave.
    """

    kek: Kek
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnwrappedKey:
    """What an unwrap gave.

    Attributes:
        key: The plain key bytes.
        server_time: The KMS's own wall clock at the answer, in seconds since the epoch, or None if it told none.
        proved_ago: Seconds, before the unwrap was asked for, since the access was last proved in full: the age of the
            session that was used again. The lease counts from then.
    """

    key: bytes = field(repr=False)
    server_time: float | None = None
    proved_ago: float = 0


@dataclass(frozen=True, slots=True)
class KekDescription:
    """What a provider can tell of a KEK without using it.

    Attributes:
        kek: The KEK; its newest version, where one was asked for that has versions and names none.
        enabled: Whether it may be used now, to wrap as to unwrap.
        detail: The provider's own word for the state.
        made: When this version was made, in seconds since the epoch; None where there are no versions.
        cause: Why it is not enabled, as in `core.errors.Denial`; "" where it is, or that is not told.
        warnings: What its owner should know before it stops serving, in sentences; dates in UTC.
        ends: When it will stop serving by itself, or stop wrapping, in seconds since the epoch; None if nothing of
            the kind is set.
    """

    kek: Kek
    enabled: bool
    detail: str
    made: float | None = None
    cause: str = ""
    warnings: tuple[str, ...] = ()
    ends: float | None = None
