"""What all models share: strict, no unknown fields, one valid encoding of everything.

What a model refuses is described by where it stands, never by its value: see `describe`.
"""

from __future__ import annotations

import difflib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from core.domain.context import MAX_PAIRS
from core.errors import InvalidRequest

_SHOWN_PROBLEMS = 5
_SPARE_FIELDS = 16
"""Unknown fields of an object that are told one by one; with more, it is not read further."""
_MAX_NAME = 64
"""Characters of a name that is compared with the known ones."""


def decode_base64(value: object) -> bytes:
    """Decode base64 in the standard alphabet, with padding, without blanks: the one valid encoding of some bytes.

    Raises:
        ValueError: It is something else; the message does not repeat it.
    """
    if not isinstance(value, str):
        raise ValueError("must be a string of base64")
    try:
        decoded = b64decode(value, validate=True)
    except ValueError:
        if "-" in value or "_" in value:
            raise ValueError("must be base64 in the standard alphabet, not base64url") from None
        raise ValueError("must be base64 (RFC 4648 section 4), padded, without blanks") from None
    # binascii ignores the unused low bits of the last character: re-encoding the last group shows them.
    if value and b64encode(decoded[-((len(decoded) - 1) % 3 + 1) :]).decode() != value[-4:]:
        raise ValueError("must be canonical base64: bits are set after the last byte")
    return decoded


def _number(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 15:
        raise ValueError("must be a decimal number")
    return int(value)


Base64 = Annotated[
    bytes,
    PlainValidator(decode_base64),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]*={0,2}$"}),
]
QueryNumber = Annotated[int, BeforeValidator(_number)]
Context = Annotated[
    dict[str, str],
    Field(max_length=MAX_PAIRS, description="Encryption context: authenticated, readable in the message, not secret"),
]

Example = Mapping[str, Any]


class Model(BaseModel):
    """Base of all models."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, ser_json_bytes="base64"
    )

    example: ClassVar[Example] = {}
    """For the documentation."""


M = TypeVar("M", bound=Model)


def validate(model: type[M], document: object, *, where: str = "the request body") -> M:
    """Read a document into a model.

    Raises:
        InvalidRequest: It does not fit; says where, never what.
    """
    _check_size(model, document, where)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidRequest(describe(error, model, where=where)) from None


def _check_size(model: type[Model], document: object, where: str, place: str = "") -> None:
    """Refuse what has more parts than the model allows, before pydantic looks at each and makes a finding of it."""
    if not isinstance(document, dict):
        return
    if len(document) > len(model.model_fields) + _SPARE_FIELDS:
        raise InvalidRequest(f"{where} is not valid: {place or 'the whole'}: has too many unknown fields")
    for name, (limit, inner) in _limits(model).items():
        value, here = document.get(name), f"{place}.{name}" if place else name
        if not isinstance(value, list | dict):
            continue
        if len(value) > limit:
            raise InvalidRequest(
                f"{where} is not valid: {here}: at most {limit} {'items' if isinstance(value, list) else 'pairs'}"
            )
        if inner is not None and isinstance(value, list):
            for index, item in enumerate(value):
                _check_size(inner, item, where, f"{here}[{index}]")


@cache
def _limits(model: type[Model]) -> Mapping[str, tuple[int, type[Model] | None]]:
    """The fields of a model that hold several: how many, and the model of each where they have one."""
    out: dict[str, tuple[int, type[Model] | None]] = {}
    for name, info in model.model_fields.items():
        limits = [item.max_length for item in info.metadata if hasattr(item, "max_length")]
        if limits and info.annotation is not str:
            out[name] = (min(limits), next(iter(_inner_models(info)), None))
    return out


def _inner_models(info: FieldInfo) -> list[type[Model]]:
    arguments = getattr(info.annotation, "__args__", ())
    return [inner for inner in arguments if isinstance(inner, type) and issubclass(inner, Model)]


def describe(error: ValidationError, model: type[Model], *, where: str = "the request body") -> str:
    """Say what is wrong with an input, naming places only.

    Names that are not ours (unknown fields, keys of a context) are values too: they are not repeated.

    Args:
        error: What pydantic found.
        model: The model that refused.
        where: What was validated.

    Returns:
        One sentence with at most five findings.
    """
    known = field_names(model)
    found = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [_finding(item["type"], item["msg"], item["loc"], known) for item in found[:_SHOWN_PROBLEMS]]
    more = len(found) - len(parts)
    return f"{where} is not valid: " + "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def _finding(kind: str, message: str, location: Sequence[str | int], known: Iterable[str]) -> str:
    names = set(known)
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part in names:
            place += f".{part}" if place else part
        else:
            place += ".*" if place else "*"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1])[:_MAX_NAME], sorted(names), n=1)
        return f"{place}: unknown field" + (f" (did you mean {near[0]}?)" if near else "")
    message = message.removeprefix("Value error, ")
    return f"{place or 'the whole'}: {message[:1].lower()}{message[1:]}"


def field_names(model: type[Model]) -> frozenset[str]:
    """The names of a model's fields, and of the models it holds."""
    out = set(model.model_fields)
    for info in model.model_fields.values():
        for inner in _inner_models(info):
            out |= field_names(inner)
    return frozenset(out)
