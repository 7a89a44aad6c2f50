"""A failed call to Key Vault or Entra: reads what came back, and looks up what it means.

An answer counts as the service's own if it has Azure's request id and an error code in the place where that service
puts it. Whatever else arrives (a proxy's page, a broken body, nothing at all) is silence, and so is every HTTP status
from 500.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import WRITE_CAUSES, Denial, OwnFault, ProviderSignal, Silence, WrapMismatch
from core.providers._dates import read_date
from core.providers.azure_key_vault.meanings import (
    APPLICATION_GONE,
    BARE,
    ENTRA_ERRORS,
    ENTRA_NUMBERS,
    KEY_VAULT,
    OTHER_OF_ENTRA,
    OTHER_OF_VAULT,
    Kind,
    Meaning,
)

TOKEN = "token"  # noqa: S105 - an operation's name
"""The one operation that is asked of Entra; all others are asked of Key Vault."""
WRAP, UNWRAP = "wrapkey", "unwrapkey"


_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")
_AKV = re.compile(r"(AKV[0-9]{5}):")
_OAUTH = re.compile(r"[a-z_]{1,60}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that did not succeed.

    Attributes:
        kind: Its class.
        operation: Which call: ``token``, or as in `core.providers.azure_key_vault.operations`.
        seen: What was seen, in a few words; never the service's own message.
        cause: Of a denial.
        code: The error code of a genuine answer, else "".
        request_id: Of a genuine answer, else "".
        again: Whether asking again at once makes sense.
        server_time: Of a genuine answer: the service's wall clock, in seconds since the epoch, or None.
        application_gone: Whether a directory says that it does not have our application, or has it disabled. The
            tenant's directory says the same when our own lost the application; only that one can tell which it is.
    """

    kind: Kind
    operation: str
    seen: str
    cause: str = ""
    code: str = ""
    request_id: str = ""
    again: bool = False
    application_gone: bool = False
    server_time: float | None = None

    def signal(self, cause: str = "", note: str = "") -> ProviderSignal:
        """The error to raise.

        Args:
            cause: Of a denial, in place of this one's own.
            note: Added to the detail.
        """
        service = "Microsoft Entra ID" if self.operation == TOKEN else "Azure Key Vault"
        told = f"{self.operation}: {self.seen}{note}"
        if self.kind in (Kind.DENIAL, Kind.STATE):
            return Denial(
                f"{service} refused {told}",
                cause=cause or self.cause,
                kms_code=self.code,
                request_id=self.request_id,
                server_time=self.server_time,
            )
        if self.kind is Kind.DATA and self.operation == UNWRAP:
            return WrapMismatch("wrapped bytes, KEK and context do not belong together")
        if self.kind is Kind.OWN:
            return OwnFault(f"our own access to {service} is in trouble at {told}", kms_code=self.code)
        return Silence(f"{service} did not answer {told}")


def silent(operation: str, seen: str, *, again: bool = False) -> Failure:
    """A silence that no answer told of."""
    return Failure(Kind.SILENCE, operation, seen, again=again)


def own(operation: str, seen: str) -> Failure:
    """Trouble of our own, met before anybody was asked about a key."""
    return Failure(Kind.OWN, operation, seen)


def of_vault(operation: str, status: int, headers: Mapping[str, str], body: object) -> Failure:
    """What a vault's answer means that is not a success.

    Args:
        operation: What was asked.
        status: HTTP status.
        headers: With lower-case names.
        body: The JSON in the body; None if there is none.
    """
    request_id = _request_id(headers)
    codes = _vault_codes(status, body)
    # A Managed HSM's 401 has no body; its challenge is what makes it one.
    genuine = codes or (status == 401 and "www-authenticate" in headers)
    if not request_id or not genuine:
        again = status in (200, 429) or status >= 500
        return silent(operation, f"HTTP {status}, not the service's own answer", again=again)
    code = next(iter(codes), "")
    if not 400 <= status < 500:
        return silent(operation, f"HTTP {status} {code}".rstrip(), again=status >= 500)
    meaning, code = _vault_meaning(status, codes)
    if meaning.kind is Kind.SILENCE or (meaning.kind is Kind.DATA and operation != UNWRAP):
        again = meaning.kind is Kind.SILENCE and not meaning.lasts
        return Failure(Kind.SILENCE, operation, f"HTTP {status} {code}", "", code, request_id, again)
    told = read_date(headers.get("date"))
    seen = code or f"HTTP {status}"
    return Failure(meaning.kind, operation, seen, _cause(meaning, operation), code, request_id, server_time=told)


def of_entra(status: int, headers: Mapping[str, str], body: object) -> Failure:
    """What Entra's answer means that is not a token.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: The JSON in the body; None if there is none.
    """
    error, numbers, trace = _entra_facts(body)
    request_id = _request_id(headers) or trace
    if not (error and request_id):
        return silent(TOKEN, f"HTTP {status}, not the service's own answer", again=status >= 500 or status == 429)
    meaning, number = _entra_meaning(error, numbers)
    code = f"AADSTS{number or numbers[0]}" if numbers else error
    seen = f"{error} ({code})" if numbers else error
    if status in (408, 429) or not 400 <= status < 500:
        return Failure(Kind.SILENCE, TOKEN, f"HTTP {status} {seen}", "", code, request_id, again=status >= 408)
    return Failure(
        meaning.kind,
        TOKEN,
        seen,
        meaning.cause,
        code,
        request_id,
        again=meaning.kind is Kind.SILENCE,
        server_time=read_date(headers.get("date")),
        application_gone=meaning.kind is Kind.DENIAL and (number in APPLICATION_GONE or (not number and error == BARE)),
    )


def of_error(error: BaseException, operation: str) -> Failure:
    """What an exception met on the way means: nobody answered.

    Args:
        error: Whatever the SDK raised; its text may hold anything and is not repeated.
        operation: The call that was made.
    """
    from azure.core import exceptions as sdk

    # After a read timeout nearly all of the budget is spent, and the service has one more request to bear.
    again = not isinstance(error, sdk.ServiceResponseTimeoutError)
    return silent(operation, f"no answer of the service's own ({type(error).__name__})", again=again)


def _vault_meaning(status: int, codes: Iterable[str]) -> tuple[Meaning, str]:
    for code in codes:
        if (status, code) in KEY_VAULT:
            return KEY_VAULT[status, code], code
    return KEY_VAULT.get((status, ""), OTHER_OF_VAULT), next(iter(codes), "")


def _cause(meaning: Meaning, operation: str) -> str:
    # To other operations a key's dates and permissions say nothing of wrapping.
    if operation == WRAP or meaning.cause not in WRITE_CAUSES:
        return meaning.cause
    return "policy" if meaning.cause == "wrap_not_permitted" else "unknown"


def _vault_codes(status: int, body: object) -> list[str]:
    """The codes in a vault's error, the most telling first; empty if it is not one."""
    told = body.get("error") if isinstance(body, dict) else None
    if not isinstance(told, dict) or not _named(told.get("code")):
        return []
    inner = told.get("innererror")
    found = [inner.get("code")] if isinstance(inner, dict) else []
    if status == 401:  # the only place where this service puts the number
        number = _AKV.match(str(told.get("message", "")))
        found += [number[1]] if number else []
    return [*(str(code) for code in found if _named(code)), str(told["code"])]


def _entra_meaning(error: str, numbers: list[int]) -> tuple[Meaning, int]:
    """What decides, and the number if it is one; else 0."""
    for number in numbers:
        if number in ENTRA_NUMBERS:
            return ENTRA_NUMBERS[number], number
    if error == BARE and numbers:
        return OTHER_OF_ENTRA, 0
    return ENTRA_ERRORS.get(error, OTHER_OF_ENTRA), 0


def _entra_facts(body: object) -> tuple[str, list[int], str]:
    told: dict[Any, Any] = body if isinstance(body, dict) else {}
    error, numbers = told.get("error"), told.get("error_codes")
    if not isinstance(error, str) or not _OAUTH.fullmatch(error):
        return "", [], ""
    found = (
        [number for number in numbers if type(number) is int and 0 < number < 10**9] if type(numbers) is list else []
    )
    trace = told.get("trace_id")
    return error, found[:8], trace if isinstance(trace, str) and _REQUEST_ID.fullmatch(trace) else ""


def _request_id(headers: Mapping[str, str]) -> str:
    found = headers.get("x-ms-request-id", "")
    return found if _REQUEST_ID.fullmatch(found) else ""


def _named(code: object) -> bool:
    return isinstance(code, str) and _CODE.fullmatch(code) is not None
