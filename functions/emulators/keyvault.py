"""A Key Vault, and a Managed HSM, for laptops and tests: the keys part of the data plane, as it goes over the wire.

It refuses what the real service refuses: tokens of another directory, network rules, missing roles and access policies,
states of keys, bytes of another version. It protects nothing: its keys are test keys, held and saved in the clear.
Source: Azure REST API, "Key Vault, Keys", 2025-07-01.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from functions.emulators.azure_errors import AzureError, bad_parameter
from functions.emulators.azure_messages import Answer, Request, json_answer
from functions.emulators.azure_tokens import Signer
from functions.emulators.keyvault_authorization import Caller, authenticate, authorise, check_network
from functions.emulators.keyvault_cryptography import USES, perform, read_object
from functions.emulators.keyvault_management import KeyManagement
from functions.emulators.keyvault_material import base64url
from functions.emulators.keyvault_vaults import Vault

API_VERSIONS = frozenset({"2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"})
PAGE = 25
_NAME = re.compile(r"[A-Za-z0-9-]{1,127}", re.ASCII)
_SECOND: Mapping[tuple[str, str], str] = {
    ("GET", ""): "get",
    ("DELETE", ""): "delete",
    ("PATCH", ""): "update",
    ("POST", "create"): "create",
    ("POST", "rotate"): "rotate",
    ("GET", "versions"): "versions",
    ("GET", "rotationpolicy"): "rotationpolicy",
    ("PUT", "rotationpolicy"): "set-rotationpolicy",
}
_DELETED: Mapping[tuple[str, str], str] = {
    ("GET", ""): "deleted",
    ("DELETE", ""): "purge",
    ("POST", "recover"): "recover",
}
_CHANGES = frozenset({"create", "rotate", "update", "delete", "recover", "purge", "set-rotationpolicy"})


@dataclass(frozen=True, slots=True)
class Target:
    """What a request to a vault is about.

    Attributes:
        operation: As in the record of calls; ``unknown`` if there is no such.
        name: Of the key, or "".
        version: Of the key, lower case, or "".
    """

    operation: str
    name: str = ""
    version: str = ""


def target(method: str, path: str) -> Target:
    """Read what a request is about off its path."""
    top, *rest = path.removeprefix("/").split("/")
    name, second, third = (*rest, "", "", "")[:3]
    if len(rest) > 3 or top not in ("keys", "deletedkeys"):
        return Target("unknown")
    if not name:
        return Target(("list" if top == "keys" else "list-deleted") if method == "GET" and not second else "unknown")
    if not _NAME.fullmatch(name):
        return Target("unknown")
    if top == "deletedkeys":
        return Target("unknown" if third else _DELETED.get((method, second), "unknown"), name)
    if third:
        return Target(third if method == "POST" and third in USES else "unknown", name, second.lower())
    if (method, second) in _SECOND:
        return Target(_SECOND[method, second], name)
    return Target({"GET": "get", "PATCH": "update"}.get(method, "unknown"), name, second.lower())


class KeyVault:
    """Answers requests to vaults.

    Args:
        management: Changes keys.
        signer: Gives who signs the tokens that are good here.
        now: Seconds since the epoch.

    Attributes:
        strict_disabled: Whether a disabled key refuses to wrap and encrypt too. Users report that the service does not.
    """

    def __init__(self, management: KeyManagement, signer: Callable[[], Signer], now: Callable[[], float]) -> None:
        self.strict_disabled = False
        self.now = now
        self._management = management
        self._signer = signer

    def authenticate(self, vault: Vault, request: Request) -> Caller:
        """Whom a request is from.

        Raises:
            AzureError: 401.
        """
        return authenticate(vault, request.headers.get("authorization", ""), self._signer(), self.now())

    def answer(self, vault: Vault, caller: Caller, asked: Target, request: Request) -> Answer:
        """Answer a request.

        Raises:
            AzureError: It is refused.
        """
        check_network(vault)
        if asked.operation == "unknown":
            raise AzureError(404, "The path or the method is not known.", code="NotFound")
        grant = authorise(vault, caller, asked.operation, asked.name)
        if request.query.get("api-version", "") not in API_VERSIONS:
            raise bad_parameter("The specified version is not recognized. Consider using the latest supported version.")
        answer = self._perform(vault, asked, request)
        if vault.access == "rbac" and not vault.hsm:
            return answer.adding({"x-ms-keyvault-rbac-assignment-id": grant.assignment})
        return answer

    def changes(self, asked: Target) -> bool:
        """Whether an operation changes what is saved."""
        return asked.operation in _CHANGES

    def _perform(self, vault: Vault, asked: Target, request: Request) -> Answer:
        operation, name, now = asked.operation, asked.name, self.now()
        if operation in USES:
            key = vault.find(name, now)
            version = key.version(asked.version)
            result = perform(version, operation, request.body, now, strict=self.strict_disabled)
            return json_answer(200, {"kid": vault.kid(key, version), **result})
        if operation == "get":
            key = vault.find(name, now)
            return json_answer(200, vault.bundle(key, key.version(asked.version)))
        if operation == "deleted":
            key = vault.find_deleted(name, now)
            return json_answer(200, vault.bundle(key, key.version("")))
        if operation in ("versions", "list", "list-deleted"):
            return json_answer(200, _page(vault, request, self._listed(vault, operation, name, now)))
        return self._manage(vault, asked, request)

    def _listed(self, vault: Vault, operation: str, name: str, now: float) -> dict[str, dict[str, Any]]:
        if operation == "versions":
            key = vault.find(name, now)
            return {found.version: vault.item(key, found, versioned=True) for found in key.versions}
        listed = {}
        for at in list(vault.keys):
            present = vault.present(at, now)
            if present is None or (present.deleted is not None) != (operation == "list-deleted"):
                continue
            newest = present.version("")
            listed[at] = vault.item(present, newest, versioned=False)
            if present.deleted is not None:
                bundle = vault.bundle(present, newest)
                listed[at] |= {at: bundle[at] for at in ("recoveryId", "deletedDate", "scheduledPurgeDate")}
        return listed

    def _manage(self, vault: Vault, asked: Target, request: Request) -> Answer:
        operation, name, management = asked.operation, asked.name, self._management
        if operation == "delete":
            return json_answer(200, management.delete(vault, name))
        if operation == "purge":
            management.purge(vault, name)
            return Answer(204)
        if operation == "recover":
            key = management.recover(vault, name)
            return json_answer(200, vault.bundle(key, key.version("")))
        if operation == "rotationpolicy":
            return json_answer(200, management.rotation_policy(vault, name))
        if operation == "set-rotationpolicy":
            return json_answer(200, management.set_rotation_policy(vault, name, read_object(request.body)))
        if operation == "rotate":
            key, version = management.rotate(vault, name)
        elif operation == "create":
            key, version = management.create_from(vault, name, read_object(request.body))
        else:
            key, version = management.update_from(vault, name, asked.version, read_object(request.body))
        return json_answer(200, vault.bundle(key, version))


def _page(vault: Vault, request: Request, listed: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One page of a list, ordered by name or version; versions are random, so they come in no order of time."""
    size = request.query.get("maxresults", str(PAGE))
    if not size.isdecimal() or not 1 <= int(size) <= PAGE:
        raise bad_parameter(f"Property 'maxresults' is 1 to {PAGE}.")
    after = _unhidden(request.query.get("$skiptoken", ""))
    names = [name for name in sorted(listed) if name > after]
    found: dict[str, Any] = {"value": [listed[name] for name in names[: int(size)]], "nextLink": None}
    if len(names) > int(size):
        token = base64url(names[int(size) - 1].encode())
        version = request.query["api-version"]
        found["nextLink"] = f"{vault.url}:443{request.path}?api-version={version}&$skiptoken={token}&maxresults={size}"
    return found


def _unhidden(token: str) -> str:
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise bad_parameter("Property '$skiptoken' is not one of ours.") from None
