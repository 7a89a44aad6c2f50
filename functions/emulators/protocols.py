"""The two wire protocols: JSON 1.1 of KMS, and the query protocol with XML answers of STS."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from functions.emulators.aws_errors import AwsError

if TYPE_CHECKING:
    from functions.emulators.faults import Corruption
    from functions.emulators.kms import Answer, Service

JSON = "application/x-amz-json-1.1"
XML = "text/xml"
TARGET = "TrentService."
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_BLOBS = ("Plaintext", "CiphertextBlob", "Message")


def read_json(body: bytes) -> dict[str, Any]:
    """Parameters of a KMS request; blobs become bytes.

    Raises:
        AwsError: ``SerializationException``.
    """
    try:
        found = json.loads(body or b"{}")
        if not isinstance(found, dict):
            raise TypeError("not an object")
        for name in _BLOBS:
            if found.get(name) is not None:
                found[name] = base64.b64decode(found[name], validate=True)
    except (ValueError, TypeError, RecursionError):
        raise AwsError("SerializationException", "the body is not what the operation takes") from None
    return found


def read_query(body: bytes) -> tuple[str, dict[str, Any]]:
    """Operation and parameters of an STS request.

    Raises:
        AwsError: ``ValidationException``.
    """
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise AwsError("ValidationException", "the body is no form") from None
    found: dict[str, Any] = dict(pairs)
    found.pop("Version", None)
    return str(found.pop("Action", "")), found


def http_answer(service: Service, operation: str, answer: Answer, request_id: str) -> tuple[int, str, bytes]:
    """An answer as it goes over the wire, damaged if a fault says so.

    Returns:
        Status, content type, body.
    """
    fault = answer.fault
    if fault is not None and fault.body is not None:
        return 200 if fault.status is None else fault.status, fault.content_type, fault.body
    if answer.error is not None:
        error = answer.error
        body = _error_xml(error, request_id) if service == "sts" else _error_json(error)
        return error.status, XML if service == "sts" else JSON, body
    result = answer.result or {}
    if service == "sts":
        return 200, XML, _result_xml(operation, result, request_id)
    if fault is not None and fault.corrupt:
        return 200, JSON, _corrupted(result, fault.corrupt)
    return 200, JSON, _json(result)


def _json(result: Mapping[str, Any]) -> bytes:
    return json.dumps(result, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(type(value).__name__)


def _error_json(error: AwsError) -> bytes:
    return _json({"__type": error.code, "message": error.message})


def _error_xml(error: AwsError, request_id: str) -> bytes:
    kind = "Sender" if error.status < 500 else "Receiver"
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _result_xml(operation: str, result: Mapping[str, Any], request_id: str) -> bytes:
    return (
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{_elements(result)}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    ).encode()


def _elements(result: Mapping[str, Any]) -> str:
    return "".join(f"<{name}>{_element(value)}</{name}>" for name, value in result.items())


def _element(value: Any) -> str:
    if isinstance(value, Mapping):
        return _elements(value)
    return escape(value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value))


def _corrupted(result: Mapping[str, Any], how: Corruption) -> bytes:
    changed = dict(result)
    if how == "no_plaintext":
        changed.pop("Plaintext", None)
    elif how == "no_ciphertext":
        changed.pop("CiphertextBlob", None)
    elif how == "other_key_id":
        arn = str(changed.get("KeyId", ""))
        changed["KeyId"] = f"{arn[:-12]}{'0' * 12}"
    elif how == "plaintext_length":
        changed["Plaintext"] = bytes(changed.get("Plaintext", b"")) + b"\0"
    elif how in ("signature", "public_key"):
        other = ec.generate_private_key(ec.SECP256R1())
        if how == "signature" and "Signature" in changed:
            changed["Signature"] = other.sign(b"something else", ec.ECDSA(SHA256()))
        elif how == "public_key" and "PublicKey" in changed:
            changed["PublicKey"] = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    body = _json(changed)
    if how == "truncated":
        return body[: len(body) // 2]
    if how == "bytes":
        middle = len(body) // 2
        return body[:middle] + bytes(b ^ 0xFF for b in body[middle : middle + 8]) + body[middle + 8 :]
    return body
