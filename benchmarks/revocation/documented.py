"""What the clouds themselves say about how long a withdrawal takes to be seen: quoted, with the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Documented:
    """What a cloud says.

    Attributes:
        brief: In a few words, for a table.
        quote: In its own words; "" where it gives no number.
        link: The page.
    """

    brief: str
    quote: str
    link: str


_KMS = "https://docs.aws.amazon.com/kms/latest/developerguide"
_IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide"
_VAULT = "https://learn.microsoft.com/azure/key-vault/general"

KMS_DISABLED = Documented(
    "right away, eventually consistent",
    "When you disable a KMS key, it becomes unusable right away (subject to eventual consistency).",
    f"{_KMS}/enabling-keys.html",
)
KMS_CHANGED = Documented(
    "seconds, in some cases minutes",
    "It typically takes less than a few seconds for the change to propagate throughout the system, but in some cases "
    "it can take several minutes.",
    f"{_KMS}/programming-eventual-consistency.html",
)
IAM_CHANGED = Documented(
    "no number; eventually consistent",
    "Any changes that you make in IAM (or other AWS services) [...] take time to become visible from all possible "
    "endpoints.",
    f"{_IAM}/troubleshoot.html",
)
TRUST_CHANGED = Documented(
    "no number; sessions that are out live on",
    "If users inadvertently expose their credentials to an unauthorized third party, that party has access for the "
    "duration of the session.",
    f"{_IAM}/id_roles_use_revoke-sessions.html",
)
VAULT_KEY = Documented("no number published", "", f"{_VAULT}/rest-error-codes")
VAULT_ROLE = Documented(
    "several minutes",
    "Allow several minutes for role assignments to refresh",
    f"{_VAULT}/rbac-guide",
)
VAULT_FIREWALL = Documented(
    "15 min for virtual networks, else no number",
    "If service endpoints aren't enabled, select Enable when prompted. It might take up to 15 minutes to take effect.",
    f"{_VAULT}/network-security",
)
ENTRA_CONSENT = Documented(
    "life of the token: 60-90 min",
    "When issued, an access token's default lifetime is assigned a random value ranging between 60-90 minutes (75 "
    "minutes on average).",
    "https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes",
)
OURS = Documented("-", "", "")
"""The kill switch is this service's own."""
