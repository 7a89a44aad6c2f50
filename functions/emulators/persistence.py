"""What an emulator knows, in a file: JSON, readable by its owner only. The keys in it are test keys, in the clear."""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from functions.emulators.aws_errors import AwsError
from functions.emulators.identities import Principal, Role, Session
from functions.emulators.kms_keys import Grant, Key
from functions.emulators.policies import Kind, Policy, parse
from functions.emulators.world import World

FORMAT = "keystead-kms-emulator-1"
MAX_FILE = 64 * 1024 * 1024


def save(world: World, path: Path) -> None:
    """Write a world; the file appears whole.

    Raises:
        OSError: It cannot be written.
    """
    identities = world.identities
    document = {
        "format": FORMAT,
        "keys": [_fields(key) for key in world.ring.keys.values()],
        "principals": [_fields(principal) for principal in identities.principals.values()],
        "roles": [_fields(role) for role in identities.roles.values()],
        "sessions": [_fields(session) for session in identities.sessions.values()],
    }
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, default=_plain)
    part.replace(path)


def restore(world: World, path: Path) -> None:
    """Put what a file holds into an empty world.

    Raises:
        OSError: The file cannot be read.
        ValueError: It was not written by `save`.
    """
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError("it is too large")
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError("it has another format")
        for entry in document["keys"]:
            world.ring.add(_key(entry))
        for entry in document["principals"]:
            world.identities.principals[entry["access_key_id"]] = Principal(**_with_policies(entry))
        for entry in document["roles"]:
            role = Role(**_with_policies({**entry, "trust": _policy(entry["trust"], "trust")}))
            world.identities.roles[role.arn] = role
        for entry in document["sessions"]:
            session = Session(**{**entry, "policy": _policy(entry["policy"], "identity") if entry["policy"] else None})
            world.identities.sessions[session.access_key_id] = session
    except (AttributeError, KeyError, TypeError, ValueError, AwsError) as error:
        raise ValueError(f"{path} is no data file of the emulator: {error}") from None


def _fields(record: Any) -> dict[str, Any]:
    # Not dataclasses.asdict: it would go into the policies, of which the document is all that is needed.
    return {field.name: getattr(record, field.name) for field in fields(record) if field.init}


def _plain(value: Any) -> Any:
    if isinstance(value, Policy):
        return dict(value.document)
    if isinstance(value, Grant):
        return _fields(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(type(value).__name__)


def _key(entry: Mapping[str, Any]) -> Key:
    grants = {name: Grant(**{**g, "operations": tuple(g["operations"])}) for name, g in entry["grants"].items()}
    backing = [b64decode(material, validate=True) for material in entry["backing"]]
    return Key(**{**entry, "policy": _policy(entry["policy"], "key"), "grants": grants, "backing": backing})


def _with_policies(entry: Mapping[str, Any]) -> dict[str, Any]:
    policies = {name: _policy(document, "identity") for name, document in entry["policies"].items()}
    return {**entry, "policies": policies}


def _policy(document: Mapping[str, Any], kind: Kind) -> Policy:
    return parse(document, kind)
