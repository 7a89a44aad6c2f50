"""Finds out what a role lets this service do beyond its need, by operations that change nothing; and what it tells of
rotation, which the narrow role does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from secrets import token_bytes
from typing import Any, NamedTuple

from core.providers.azure_key_vault.attributes import KeyAttributes
from core.providers.azure_key_vault.calls import Answer, Request
from core.providers.azure_key_vault.checklist import RETRY, ROLES, Checklist
from core.providers.azure_key_vault.failures import Failure
from core.providers.azure_key_vault.meanings import Kind
from core.providers.azure_key_vault.operations import encrypt

Ask = Callable[[Request], Answer | Failure]
PICKED_UP = (
    "a new version is taken up at this service's next check of its tenants' keys, and the old one must stay enabled "
    "until then"
)
_A256GCM = "A256GCM"
_SAMPLE = 32


class Trial(NamedTuple):
    """Something that this service needs no permission for.

    Attributes:
        what: In a few words.
        request: Does it.
    """

    what: str
    request: Request


def check_permissions(checks: Checklist, ask: Ask, found: KeyAttributes, *, is_hsm: bool, has_roles: bool) -> None:
    """Note what may be done beyond need.

    Args:
        checks: Where to note it.
        ask: Makes a call.
        found: Of the key's newest version.
        is_hsm: Whether it lies in a Managed HSM.
        has_roles: Whether roles decide there; access policies always cover the whole vault.
    """
    results = {trial.what: allowed(ask(trial.request)) for trial in _trials(found, has_roles=has_roles)}
    beyond = [what for what, is_allowed in results.items() if is_allowed]
    untold = [what for what, is_allowed in results.items() if is_allowed is None]
    if beyond:
        role = ROLES["hsm" if is_hsm else "vault"]
        checks.warned(
            "permissions",
            f"permissions beyond need: {', '.join(beyond)}",
            f"Assign the role {role.name} ({role.id}) on this key only, and take away what is broader."
            if has_roles
            else "Leave get, wrapKey and unwrapKey in the access policy, and take away the rest.",
        )
    elif untold:
        checks.warned("permissions", f"it could not be told whether this is allowed: {', '.join(untold)}", RETRY)
    else:
        checks.passed("permissions", f"refused, as it should be: {', '.join(results)}")


def check_rotation(checks: Checklist, answer: Answer | Failure) -> None:
    """Note what the key's rotation policy says, if this service may read it."""
    if isinstance(answer, Failure):
        seen = (
            "this service's role does not read the key's rotation policy" if allowed(answer) is False else answer.seen
        )
        checks.warned(
            "rotation",
            f"it is not known whether new versions are made by themselves ({seen}); {PICKED_UP}",
            "Look for yourself: az keyvault key rotation-policy show. The role need not be broader for this.",
        )
    elif any(_rotates(action) for action in answer.body.get("lifetimeActions", [])):
        checks.passed("rotation", f"a rotation policy makes new versions; {PICKED_UP}")
    else:
        checks.warned(
            "rotation",
            f"no rotation policy makes new versions; {PICKED_UP}",
            "Set one: az keyvault key rotation-policy update; or make new versions by hand: az keyvault key rotate.",
        )


def allowed(answer: Answer | Failure) -> bool | None:
    """Whether a call was let through; None if that cannot be told."""
    if not isinstance(answer, Failure):
        return True
    # What a key does not permit to anybody counts as refused too.
    return False if answer.kind is Kind.DENIAL and answer.cause == "policy" else None


def _trials(found: KeyAttributes, *, has_roles: bool) -> Iterator[Trial]:
    algorithm = found.algorithm
    if algorithm is not None:
        is_rsa = found.bits > 0
        name, size = (algorithm.name, algorithm.size) if is_rsa else (_A256GCM, _SAMPLE)
        yield Trial("encrypt with the key", encrypt(found.version, name, token_bytes(_SAMPLE), size))
    yield Trial("list deleted keys", _list("list-deleted", "/deletedkeys"))
    if has_roles:
        yield Trial("list the vault's other keys", _list("list", "/keys"))


def _list(operation: str, path: str) -> Request:
    return Request(operation, "GET", path, None, lambda answer: type(answer.body["value"]) is list)


def _rotates(action: Any) -> bool:
    told = action.get("action") if isinstance(action, Mapping) else None
    kind = told.get("type") if isinstance(told, Mapping) else None
    return isinstance(kind, str) and kind.lower() == "rotate"
