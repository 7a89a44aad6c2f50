"""Requests to the emulated Azure and its answers, as the transport hands them on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from functions.emulators.azure_errors import AzureError, EntraError
from functions.emulators.keyvault_material import Material, generate_rsa

if TYPE_CHECKING:
    from functions.emulators.azure_faults import AzureFault, Corruption

JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: Upper case.
        host: Lower case, without a port.
        path: Without the query, percent-decoded.
        query: By name; the last of each.
        headers: By lower-case name.
        body: Its bytes.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        status: Of HTTP.
        body: Its bytes.
        headers: Besides Date and Content-Length, which the transport adds.
        dated: Whether it adds a Date.
        fault: What the transport must do to it, or None.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    dated: bool = True
    fault: AzureFault | None = None

    def adding(self, headers: Mapping[str, str]) -> Answer:
        """The same with more headers; those that it has stay."""
        return replace(self, headers={**headers, **self.headers})


def json_answer(status: int, content: Any) -> Answer:
    """An answer with JSON in it."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": JSON})


def vault_refusal(error: AzureError) -> Answer:
    """A refusal as Key Vault writes it."""
    found: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.inner:
        found["innererror"] = {"code": error.inner}
    return json_answer(error.status, {"error": found})


def entra_refusal(error: EntraError, trace: str, date: str) -> Answer:
    """A refusal as Entra writes it.

    Args:
        error: The refusal.
        trace: Id for both of the ids in it.
        date: Such as ``2027-01-15 08:00:00Z``.
    """
    return json_answer(
        error.status,
        {
            "error": error.error,
            "error_description": f"{error.text} Trace ID: {trace} Correlation ID: {trace} Timestamp: {date}",
            "error_codes": [error.number],
            "timestamp": date,
            "trace_id": trace,
            "correlation_id": trace,
            "error_uri": f"https://login.microsoftonline.com/error?code={error.number}",
        },
    )


def corrupted(answer: Answer, how: Corruption) -> Answer:
    """An answer that was damaged on its way; a refusal stays whole."""
    if answer.status != 200:
        return answer
    if how == "truncated":
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    if how == "bytes":
        middle = len(answer.body) // 2
        flipped = bytes(byte ^ 0xFF for byte in answer.body[middle : middle + 8])
        return replace(answer, body=answer.body[:middle] + flipped + answer.body[middle + 8 :])
    if how == "no_object":
        return replace(answer, body=b"[]")
    found = json.loads(answer.body)
    # Both kinds of answer name a version: a bundle inside of its key, the rest at the top.
    _damage(found, found.get("key", found), how)
    return replace(answer, body=json.dumps(found).encode())


def _damage(found: dict[str, Any], named: dict[str, Any], how: Corruption) -> None:
    kid, value = str(named.get("kid", "")), str(found.get("value", ""))
    if how == "no_value":
        found.pop("value", None)
    elif how == "value":
        found["value"] = ("B" if value[:1] == "A" else "A") + value[1:]
    elif how == "value_length":
        found["value"] = value[4:]
    elif how == "no_kid":
        named.pop("kid", None)
    elif how == "other_key":
        parts = kid.split("/")
        named["kid"] = "/".join([*parts[:4], "another", *parts[5:]])
    elif how == "other_version":
        named["kid"] = f"{kid[:-32]}{'0' * 32}"
    elif how == "public_key" and named.get("kty", "").startswith("EC"):
        named |= Material.generate("EC", 256, generate_rsa).public()
