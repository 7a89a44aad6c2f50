"""The control API: what other processes steer the emulator with, as JSON under ``/_emulator/``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from functions.emulators.aws_errors import AwsError
from functions.emulators.faults import fault_from
from functions.emulators.kms import KmsEmulator

PREFIX = "/_emulator/"
MAX_SKEW = 10**9
"""Seconds; beyond it there are no dates."""
_CREATE_KEY = frozenset(
    {
        *("account", "region", "policy", "key_id", "spec", "usage", "origin", "custom_key_store_id", "multi_region"),
        *("rotation", "manager"),
    }
)
Body = Mapping[str, Any]


def _create_key(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    if not {*body} <= _CREATE_KEY:
        raise ValueError(f"unknown fields: {', '.join(sorted({*body} - _CREATE_KEY))}")
    return {"arn": emulator.create_key(**body)}


def _schedule(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    days = int(body.get("days", 30))
    if not 7 <= days <= 30:
        raise ValueError("days is 7 to 30")
    emulator.schedule_key_deletion(_arn(body), days)
    return {"arn": _arn(body), "days": days}


def _set_state(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.set_key_state(_arn(body), str(body["state"]))
    return {"arn": _arn(body)}


def _put_key_policy(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.put_key_policy(_arn(body), body["policy"])
    return {"arn": _arn(body)}


def _create_role(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.create_role(_arn(body), body["trust_policy"], body.get("policies"))
    return {"arn": _arn(body)}


def _put_role_policy(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.put_role_policy(_arn(body), str(body["name"]), body["policy"])
    return {"arn": _arn(body)}


def _update_trust_policy(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.update_trust_policy(_arn(body), body["trust_policy"])
    return {"arn": _arn(body)}


def _add_principal(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.add_principal(str(body["access_key_id"]), str(body["secret_access_key"]), _arn(body), body.get("policies"))
    return {"arn": _arn(body)}


def _fault(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    emulator.add_fault(fault_from(body))
    return {}


def _clear_faults(emulator: KmsEmulator, _body: Body) -> dict[str, Any]:
    emulator.clear_faults()
    return {}


def _skew(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
    seconds = float(body["seconds"])
    if not abs(seconds) <= MAX_SKEW:  # nor is a NaN
        raise ValueError(f"seconds is a number of at most {MAX_SKEW}")
    emulator.skew = seconds
    return {}


def _simple(act: Callable[[KmsEmulator, str], None]) -> Callable[[KmsEmulator, Body], dict[str, Any]]:
    def handle(emulator: KmsEmulator, body: Body) -> dict[str, Any]:
        act(emulator, _arn(body))
        return {"arn": _arn(body)}

    return handle


POSTS: Mapping[str, Callable[[KmsEmulator, Body], dict[str, Any]]] = {
    "add-principal": _add_principal,
    "cancel-key-deletion": _simple(KmsEmulator.cancel_key_deletion),
    "clear-faults": _clear_faults,
    "create-key": _create_key,
    "create-role": _create_role,
    "delete-key": _simple(KmsEmulator.delete_key),
    "delete-role": _simple(KmsEmulator.delete_role),
    "disable-key": _simple(KmsEmulator.disable_key),
    "enable-key": _simple(KmsEmulator.enable_key),
    "expire-material": _simple(KmsEmulator.expire_material),
    "fault": _fault,
    "put-key-policy": _put_key_policy,
    "put-role-policy": _put_role_policy,
    "rotate-key": _simple(KmsEmulator.rotate_key),
    "schedule-key-deletion": _schedule,
    "set-key-state": _set_state,
    "skew": _skew,
    "update-trust-policy": _update_trust_policy,
}


def control(emulator: KmsEmulator, name: str, body: bytes | None) -> tuple[int, bytes]:
    """Carry a control request out.

    Args:
        emulator: To steer.
        name: What follows the prefix in the path.
        body: JSON object of a POST; None for a GET.

    Returns:
        Status and JSON: 200, 400 for a request that cannot be read, 404 for what is not there.
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
    except AwsError as error:
        missing = error.code in ("NotFoundException", "NoSuchEntity")
        return _json(404 if missing else 400, {"error": error.message, "code": error.code})
    except KeyError as error:
        return _json(400, {"error": f"the field {error.args[0]} is missing", "code": "ValidationException"})
    except (TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        return _json(400, {"error": str(error), "code": "ValidationException"})


def _get(emulator: KmsEmulator, name: str) -> tuple[int, bytes]:
    now = emulator.now()
    if name == "keys":
        with emulator.lock:
            keys = [key for key in emulator.ring.keys.values() if not key.gone(now)]
            return _json(200, {"keys": [{**key.metadata(now), "RotationEnabled": key.rotation} for key in keys]})
    if name == "calls":
        return _json(200, {"calls": [asdict(call) for call in emulator.calls]})
    if name == "health":
        return _json(200, {"status": "ok"})
    return _json(404, {"error": f"there is no {name}", "code": "NotFound"})


def _arn(body: Body) -> str:
    found = body["arn"]
    if not isinstance(found, str) or not found.startswith("arn:"):
        raise TypeError("arn is not an ARN")
    return found


def _json(status: int, answer: Mapping[str, Any]) -> tuple[int, bytes]:
    return status, json.dumps(answer, default=lambda value: value.isoformat()).encode() + b"\n"
