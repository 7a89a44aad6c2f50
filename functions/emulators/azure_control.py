"""The control API of the Azure emulator: what other processes steer it with, as JSON under ``/_emulator/``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import NoneType
from typing import Any

from core.errors import InvalidRequest
from functions.emulators.azure_errors import AzureError
from functions.emulators.azure_faults import azure_fault_from
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.control import MAX_SKEW, PREFIX

__all__ = ["PREFIX", "azure_control"]
Body = Mapping[str, Any]
Handle = Callable[[AzureEmulator, Body], Mapping[str, Any]]
_NOTHING: Mapping[str, Any] = {}
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("blocked", "enabled", "hsm", "purge_protection"), (bool,)),
    **dict.fromkeys(("size", "soft_delete_days"), (int,)),
    **dict.fromkeys(("nbf", "exp"), (int, NoneType)),
    "secret_expires": (int, float, NoneType),
    **dict.fromkeys(("actions", "key_ops"), (list,)),
    "tags": (dict,),
}
"""Types of the fields that are no text."""


def _fault(emulator: AzureEmulator, body: Body) -> Mapping[str, Any]:
    emulator.add_fault(azure_fault_from(body))
    return _NOTHING


def _skew(emulator: AzureEmulator, body: Body) -> Mapping[str, Any]:
    seconds = float(body["seconds"])
    if not abs(seconds) <= MAX_SKEW:  # nor is a NaN
        raise ValueError(f"seconds is a number of at most {MAX_SKEW}")
    emulator.skew = seconds
    return _NOTHING


def _simple(act: Callable[..., Any], *required: str, optional: tuple[str, ...] = (), gives: str = "") -> Handle:
    """A handler that hands the body's fields on as arguments; what it returns is the answer's one field."""

    def handle(emulator: AzureEmulator, body: Body) -> Mapping[str, Any]:
        if unknown := {*body} - {*required, *optional}:
            raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
        given = [_typed(body, name) for name in required]
        found = act(emulator, *given, **{name: _typed(body, name) for name in optional if name in body})
        return {gives: found} if gives else _NOTHING

    return handle


def _set_enabled(enabled: bool) -> Handle:
    return _simple(lambda emulator, key: AzureEmulator.set_enabled(emulator, key, enabled), "key")


POSTS: Mapping[str, Handle] = {
    "add-application": _simple(
        AzureEmulator.add_application,
        *("client_id", "home_tenant"),
        optional=("secret", "certificate_pem", "managed_identity", "cloud", "secret_expires"),
    ),
    "add-tenant": _simple(AzureEmulator.add_tenant, "tenant"),
    "clear-calls": _simple(AzureEmulator.clear_calls),
    "clear-faults": _simple(AzureEmulator.clear_faults),
    "consent": _simple(AzureEmulator.consent, "client_id", "tenant"),
    "create-key": _simple(
        AzureEmulator.create_key,
        *("vault_url", "name"),
        optional=("kty", "size", "key_ops", "enabled", "nbf", "exp", "tags"),
        gives="kid",
    ),
    "create-vault": _simple(
        AzureEmulator.create_vault,
        *("name", "tenant"),
        optional=("cloud", "hsm", "purge_protection", "soft_delete_days", "access"),
        gives="vault_url",
    ),
    "delete-key": _simple(AzureEmulator.delete_key, "key"),
    "delete-vault": _simple(AzureEmulator.delete_vault, "vault_url"),
    "disable-application": _simple(AzureEmulator.disable_application, "client_id", "tenant"),
    "disable-key": _set_enabled(False),
    "enable-application": _simple(AzureEmulator.enable_application, "client_id", "tenant"),
    "enable-key": _set_enabled(True),
    "fault": _fault,
    "grant": _simple(AzureEmulator.grant, "vault_url", "client_id", optional=("key", "actions")),
    "purge-key": _simple(AzureEmulator.purge_key, "key"),
    "recover-key": _simple(AzureEmulator.recover_key, "key"),
    "recover-vault": _simple(AzureEmulator.recover_vault, "vault_url"),
    "remove-tenant": _simple(AzureEmulator.remove_tenant, "tenant"),
    "revoke": _simple(AzureEmulator.revoke, "vault_url", "client_id"),
    "rotate-key": _simple(AzureEmulator.rotate_key, "key", gives="kid"),
    "set-access": _simple(AzureEmulator.set_access, "vault_url", "access"),
    "set-attributes": _simple(AzureEmulator.set_attributes, "key", optional=("enabled", "nbf", "exp", "key_ops")),
    "set-conditional-access": _simple(
        AzureEmulator.set_conditional_access, "client_id", "tenant", optional=("blocked",)
    ),
    "set-network": _simple(AzureEmulator.set_network, "vault_url", "network"),
    "set-tags": _simple(AzureEmulator.set_tags, "key", "tags"),
    "skew": _skew,
    "withdraw-consent": _simple(AzureEmulator.withdraw_consent, "client_id", "tenant"),
}


def azure_control(emulator: AzureEmulator, name: str, body: bytes | None) -> tuple[int, bytes]:
    """Carry a control request out.

    Args:
        emulator: To steer.
        name: What follows the prefix in the path.
        body: JSON object of a POST; None for a GET.

    Returns:
        Status and JSON: 200; 400 for a request that cannot be read; 404 for what is not there; 403 and 409 where the
        service itself would refuse.
    """
    try:
        if body is None:
            return _get(emulator, name)
        handle = POSTS.get(name)
        if handle is None:
            return _json(404, {"error": f"there is no {name}", "code": "NotFound"})
        fields = json.loads(body or b"{}")
        if not isinstance(fields, dict):
            raise TypeError("the body is not an object")
        return _json(200, handle(emulator, fields))
    except AzureError as error:
        return _json(error.status, {"error": error.message, "code": error.inner or error.code})
    except InvalidRequest as error:
        return _json(400, {"error": error.detail, "code": "BadParameter"})
    except KeyError as error:
        return _json(400, {"error": f"the field {error.args[0]} is missing", "code": "BadParameter"})
    except (TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        return _json(400, {"error": str(error), "code": "BadParameter"})


def _get(emulator: AzureEmulator, name: str) -> tuple[int, bytes]:
    if name == "calls":
        return _json(200, {"calls": [asdict(call) for call in emulator.calls]})
    if name == "world":
        return _json(200, _world(emulator))
    if name == "health":
        return _json(200, {"status": "ok"})
    return _json(404, {"error": f"there is no {name}", "code": "NotFound"})


def _world(emulator: AzureEmulator) -> dict[str, Any]:
    """Everything but what is secret."""
    with emulator.lock:
        directory, now = emulator.directory, emulator.now()
        return {
            "tenants": sorted(directory.tenants),
            "applications": [
                {
                    "client_id": found.client_id,
                    "home_tenant": found.home_tenant,
                    "cloud": found.cloud,
                    "managed_identity": found.managed_identity,
                    "has_secret": bool(found.secret),
                    "has_certificate": bool(found.certificate_pem),
                    "consents": sorted(tenant for client, tenant in directory.consents if client == found.client_id),
                    "disabled": sorted(tenant for client, tenant in directory.disabled if client == found.client_id),
                    "blocked": sorted(tenant for client, tenant in directory.blocked if client == found.client_id),
                }
                for found in directory.applications.values()
            ],
            "vaults": [
                {
                    "vault_url": vault.url,
                    "tenant": vault.tenant,
                    "cloud": vault.cloud,
                    "hsm": vault.hsm,
                    "access": vault.access,
                    "network": vault.network,
                    "deleted": vault.deleted,
                    "recovery_level": vault.recovery_level,
                    "grants": [asdict(grant) for grant in vault.grants],
                    "keys": [
                        {"deleted": key.deleted, **vault.bundle(key, version)}
                        for name in list(vault.keys)
                        if (key := vault.present(name, now)) is not None
                        for version in key.versions
                    ],
                }
                for vault in emulator.vaults.by_host.values()
            ],
        }


def _typed(body: Body, name: str) -> Any:
    found, types = body[name], _TYPES.get(name, (str,))
    if not isinstance(found, types) or (isinstance(found, bool) and bool not in types):
        raise TypeError(f"{name} has another type")
    return found


def _json(status: int, answer: Mapping[str, Any]) -> tuple[int, bytes]:
    return status, json.dumps(answer).encode() + b"\n"
