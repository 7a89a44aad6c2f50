"""What Key Vault's and Entra's error answers mean: one table each, by status and code, never by message text.

Sources: Azure Key Vault, `REST API error codes
<https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>`_; `Microsoft Entra authentication and
authorization error codes <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>`_.
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
        lasts: Whether a silence outlasts an operation, so that asking again at once makes no sense.
    """

    kind: Kind
    cause: str = ""
    lasts: bool = False


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
    (404, ""): Meaning(Kind.DENIAL, "unknown"),
    (408, ""): _SILENCE,
    (409, ""): Meaning(Kind.SILENCE, lasts=True),  # "Conflict", while the key is being deleted or recovered
    (421, ""): _SILENCE,
    (425, ""): _SILENCE,
    (429, ""): _SILENCE,
    (499, ""): _SILENCE,
}
"""(HTTP status, code) -> meaning; "" stands for any other code.

The code is the inner one where there is one that is listed, else the outer one. Only 401, 403 and 404 say something
of a tenant's key or of our access to it, so only they can be a denial. Any other 4xx is of the request itself (its
form, method, length, headers, api-version), which is ours and the same for every tenant: were it a denial, one faulty
release, or one gateway, would stop every key at once, while no tenant can withdraw a key by it. Those that a gateway or
a slow connection causes, and that pass, are silence; all others, listed or not, are our own trouble, which alarms and
stops nobody's key. Every status from 500 is silence.
"""

OTHER_OF_VAULT = _OWN

APPLICATION_GONE = frozenset({700016, 7000229, 7000112})
"""Numbers that say that a directory does not have our application, or has it disabled.

A tenant does that to withdraw its key. It is also what every directory says once our own one lost the application.
"""
_BLOCKED = (53003, 530003, 530031, 530032, 530033, 530034, 530035, 500021, 500022, 500213, 501051)
# No such directory, or in another cloud; a blocked one; one in which Key Vault is not there, or is disabled.
_DIRECTORY = (90002, 5000224, 5000225, 500011, 500014, 650052)
_SECRETS = (7000215, 7000216, 7000218, 7000222, 700027, 700021, 700023, 700024, 700229, 700211, 700212, 700213)
_ASSERTIONS = (50012, 50013, 50027, 500133)
# The application is for one directory only, is registered for other flows, or lacks a permission that it asks for.
_REGISTRATION = (50194, 700022, 700054, 7002139, 650057)
_BUSY = (90006, 90012, 90024, 90033, 90055, 90090, 50033)
# Only users are asked for consent of their own, so our request was of the wrong kind.
_WRONG_FLOW = (65001, 50020)

ENTRA_NUMBERS: Mapping[int, Meaning] = {
    **dict.fromkeys(_BUSY, _SILENCE),
    **dict.fromkeys((*_SECRETS, *_ASSERTIONS, *_REGISTRATION, *_WRONG_FLOW), _OWN),
    **dict.fromkeys((*sorted(APPLICATION_GONE), *_BLOCKED, *_DIRECTORY), _IDENTITY),
}
"""AADSTS number -> meaning, under any OAuth error.

Numbers that are listed decide; the first of them, if an answer has several. The same number comes under more than one
OAuth error: a service principal that is not there is ``unauthorized_client`` or ``invalid_client``, and a policy that
blocks is ``invalid_grant`` or ``access_denied``. Without a listed number the OAuth error decides, by `ENTRA_ERRORS`.
"""

BARE = "unauthorized_client"
"""The OAuth error that is a denial only without any number.

By itself it says that the directory does not let the application in. With a number that nobody knows it may as well be
the way in which our own application is registered, as in `_REGISTRATION`, which all tenants would meet at once.
"""
ENTRA_ERRORS: Mapping[str, Meaning] = {
    "temporarily_unavailable": _SILENCE,
    "server_error": _SILENCE,
    BARE: _IDENTITY,
    "access_denied": _IDENTITY,
    "interaction_required": _IDENTITY,
    "invalid_resource": _IDENTITY,
    "invalid_client": _OWN,
    "invalid_grant": _OWN,
    "invalid_request": _OWN,
    "invalid_scope": _OWN,
    "unsupported_grant_type": _OWN,
}
"""OAuth error -> meaning, where no number is listed.

An error that is not here is our own trouble: it stops nobody's key, and alarms.
"""
OTHER_OF_ENTRA = _OWN
