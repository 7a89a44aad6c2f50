"""What the service's answers hold, as typed values. Members this client does not know are ignored."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from core.client.problems import UnexpectedAnswer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as the service shows it.

    Attributes:
        tenant_id: Its id.
        display_name: Name for people, or "".
        state: State of its key.
        created: UTC, ISO 8601.
        offering: What it has bought.
        unbound_policy_accepted: Whether a key policy that is not bound to the tenant may pass.
    """

    tenant_id: str
    display_name: str
    state: str
    created: str
    offering: str
    unbound_policy_accepted: bool


@dataclass(frozen=True, slots=True)
class DataKeyGrant:
    """A data key handed out: 32 plain bytes, the same key wrapped, and the whole context it is bound to."""

    data_key: bytes = field(repr=False)
    encrypted_data_key: bytes
    context: Mapping[str, str]


class Fields:
    """Reads the members of a JSON object that an answer must have.

    Args:
        document: The parsed JSON.

    Raises:
        UnexpectedAnswer: It is not an object; from the methods: the member is missing or has another type.
    """

    def __init__(self, document: object) -> None:
        if not isinstance(document, dict):
            raise UnexpectedAnswer("the answer is not a JSON object")
        self._document: Mapping[str, Any] = document

    @classmethod
    def parse(cls, body: bytes) -> Fields:
        """Read a JSON body."""
        try:
            return cls(json.loads(body))
        except (ValueError, RecursionError):
            raise UnexpectedAnswer("the answer is not JSON") from None

    def document(self) -> Mapping[str, Any]:
        """The object itself."""
        return self._document

    def get(self, name: str, kind: type[T]) -> T:
        """A member of a type; whole numbers count as floats, booleans never as numbers, and floats are finite."""
        value = self._document.get(name)
        if kind is float and isinstance(value, int):
            value = value if isinstance(value, bool) else _as_float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or not _is_sound(value):
            raise UnexpectedAnswer(f"the answer has no member {name!r} of the right type")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """A member of a type, or None where it is missing or null."""
        return None if self._document.get(name) is None else self.get(name, kind)

    def data(self, name: str, *, size: int | None = None) -> bytes:
        """A member that is base64, of a size in bytes if one is given."""
        try:
            value = base64.b64decode(self.get(name, str), validate=True)
        except (binascii.Error, ValueError):
            raise UnexpectedAnswer(f"the answer's member {name!r} is not base64") from None
        if size is not None and len(value) != size:
            raise UnexpectedAnswer(f"the answer's member {name!r} has not {size} bytes")
        return value

    def pairs(self, name: str, kind: type[T]) -> dict[str, T]:
        """A member that is an object whose members all have one type."""
        inner = Fields(self.get(name, dict))
        if not all(_is_sound(key) for key in inner._document):
            raise UnexpectedAnswer(f"the answer's member {name!r} has names that are not Unicode")
        return {key: inner.get(key, kind) for key in inner._document}

    def inner(self, name: str, read: Callable[[Fields], T]) -> T | None:
        """A member that is an object, or None where it is null."""
        return None if self._document.get(name) is None else read(Fields(self.get(name, dict)))

    def items(self, name: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A member that is a list of objects."""
        return tuple(read(Fields(item)) for item in self.get(name, list))

    def objects(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """A member that is a list of objects of any form."""
        return self.items(name, Fields.document)

    def texts(self, name: str) -> tuple[str, ...]:
        """A member that is a list of texts."""
        items = self.get(name, list)
        if not all(isinstance(item, str) and _is_sound(item) for item in items):
            raise UnexpectedAnswer(f"the answer's member {name!r} is not a list of texts")
        return tuple(items)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_sound(value: object) -> bool:
    """Whether a value can be passed on: JSON has lone surrogates and infinite numbers, what comes after has not."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def tenant(fields: Fields) -> Tenant:
    """Read a tenant.

    Raises:
        UnexpectedAnswer: A member is missing.
    """
    texts = ("tenant_id", "display_name", "state", "created", "offering")
    accepted = fields.get("unbound_policy_accepted", bool)
    return Tenant(**{name: fields.get(name, str) for name in texts}, unbound_policy_accepted=accepted)


def data_key_grant(fields: Fields) -> DataKeyGrant:
    """Read a handed-out data key.

    Raises:
        UnexpectedAnswer: A member is missing or malformed.
    """
    return DataKeyGrant(
        fields.data("data_key", size=32), fields.data("encrypted_data_key"), fields.pairs("context", str)
    )
