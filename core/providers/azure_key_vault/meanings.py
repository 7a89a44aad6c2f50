"""What Key Vault's and Entra's error answers mean: one table each, by status and code, never by message text.

Sources: Azure Key Vault, `REST API error codes
<https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>`_; `Microsoft Entra authentication and
authorization error codes <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>`_, which asks
clients to decide by the OAuth error first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """Classes of failures."""

    DENIAL = auto()
    """A genuine no."""
    STATE = auto()
    """A genuine no whose cause is not told: the key's own attributes may tell it."""
    SILENCE = auto()
    """No answer, or not the service's own, or one that asks to come again."""
    DATA = auto()
    """The ciphertext, the key and the algorithm do not belong together."""
    CREDENTIALS = auto()
    """The vault does not take the token."""
    OWN = auto()
    """Our own application, its secret, or what we asked is at fault."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One line of a table.

    Attributes:
        kind: The class.
        cause: Of a denial, as in `core.errors.Denial`.
    """

    kind: Kind
    cause: str = ""


_POLICY = Meaning(Kind.DENIAL, "policy")
_NETWORK = Meaning(Kind.DENIAL, "network")
_IDENTITY = Meaning(Kind.DENIAL, "identity")
_SILENCE = Meaning(Kind.SILENCE)
_OWN = Meaning(Kind.OWN)

KEY_VAULT: Mapping[tuple[int, str], Meaning] = {
    (400, "BadParameter"): Meaning(Kind.DATA),
    # The token's issuer is not the directory that the vault lies in: the vault is not where its tenant said.
    (401, "AKV10032"): _IDENTITY,
    (401, ""): Meaning(Kind.CREDENTIALS),
    (403, "KeyDisabled"): Meaning(Kind.DENIAL, "disabled"),
    (403, "KeyNotYetValid"): Meaning(Kind.DENIAL, "not_yet_valid"),
    (403, "KeyExpired"): Meaning(Kind.DENIAL, "expired"),
    (403, "KeyOperationForbidden"): Meaning(Kind.DENIAL, "wrap_not_permitted"),
    (403, "ForbiddenByRbac"): _POLICY,
    (403, "ForbiddenByPolicy"): _POLICY,
    (403, "AccessDenied"): _POLICY,
    (403, "ForbiddenByFirewall"): _NETWORK,
    (403, "ForbiddenByConnection"): _NETWORK,
    (403, ""): Meaning(Kind.STATE, "unknown"),
    (404, "KeyNotFound"): Meaning(Kind.DENIAL, "not_found"),
    (408, ""): _SILENCE,
    (409, ""): _SILENCE,  # "Conflict", while the key is being deleted or recovered
    (429, ""): _SILENCE,
}
"""(HTTP status, code) -> meaning; "" stands for any other code.

The code is the inner one where there is one that is listed, else the outer one. A genuine 4xx that is not here is a
denial of unknown cause, and every status from 500 is silence.
"""

OTHER_OF_VAULT = Meaning(Kind.DENIAL, "unknown")

_APPLICATION_GONE = (700016, 7000229, 7000112)
_BLOCKED = (53003, 530003, 530031, 530032, 530033, 530034, 530035, 500021, 500022, 500213)
_SECRETS = (7000215, 7000216, 7000218, 7000222, 700027, 700021, 700023, 700024, 700229, 700211, 700212, 700213)
_ASSERTIONS = (50012, 50013, 50027, 500133)
_BUSY = (90006, 90012, 90024, 90033, 90055, 90090, 50033)
_WRONG_FLOW = (65001, 50020)

ENTRA: Mapping[tuple[str, int], Meaning] = {
    **{("", code): _SILENCE for code in _BUSY},
    # Only users are asked for consent of their own, so our request was of the wrong kind.
    **{("", code): _OWN for code in _WRONG_FLOW},
    ("temporarily_unavailable", 0): _SILENCE,
    ("server_error", 0): _SILENCE,
    ("unauthorized_client", 0): _IDENTITY,
    **{("unauthorized_client", code): _IDENTITY for code in _APPLICATION_GONE},
    **{("unauthorized_client", code): _OWN for code in (*_SECRETS, *_ASSERTIONS)},
    ("invalid_client", 0): _OWN,
    **{("invalid_client", code): _OWN for code in (*_SECRETS, *_ASSERTIONS)},
    # Entra has been seen to say so of a service principal that the tenant deleted; no fault of ours has these numbers.
    **{("invalid_client", code): _IDENTITY for code in _APPLICATION_GONE},
    ("access_denied", 0): _IDENTITY,
    ("interaction_required", 0): _IDENTITY,
    ("invalid_grant", 0): _OWN,
    **{("invalid_grant", code): _OWN for code in _ASSERTIONS},
    **{
        (error, code): _IDENTITY
        for error in (
            "access_denied",
            "interaction_required",
            "invalid_grant",
            "invalid_request",
            "unauthorized_client",
        )
        for code in _BLOCKED
    },
    ("invalid_resource", 0): _IDENTITY,
    ("invalid_resource", 500011): _IDENTITY,  # Key Vault itself has no service principal in the directory
    ("invalid_request", 0): _OWN,
    ("invalid_request", 90002): _IDENTITY,  # there is no such directory, or it lies in another cloud
    ("invalid_scope", 0): _OWN,
    ("unsupported_grant_type", 0): _OWN,
}
"""(OAuth error, AADSTS number) -> meaning; 0 stands for any other number, "" for any error.

The OAuth error decides; a number only refines it, as Microsoft may change numbers at any time. Two groups count
whatever the error is: trouble of the service that passes, and numbers of flows that are not ours. An error that is not
here is our own trouble: it stops nobody's key, and alarms. So is ``invalid_client``, but for the numbers that say that
the tenant's directory has no such application, or has disabled it.
"""
OTHER_OF_ENTRA = _OWN
