"""An Azure in this process, for laptops and tests: Key Vaults, Managed HSMs and the Entra that issues their tokens.

It protects nothing: its keys are test keys, held and saved in the clear.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt

from functions.emulators.azure_customers import AzureCustomers
from functions.emulators.azure_errors import AzureError, EntraError
from functions.emulators.azure_faults import AzureFault, Call
from functions.emulators.azure_messages import Answer, Request, corrupted, entra_refusal, json_answer, vault_refusal
from functions.emulators.entra import AUTHORITIES, IDENTITY_PATH, Entra
from functions.emulators.keyvault import KeyVault, Target, target
from functions.emulators.keyvault_authorization import LOCATION, challenge_header
from functions.emulators.keyvault_material import RsaKeys, generate_rsa
from functions.emulators.keyvault_vaults import Vault

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AzureEmulator", "AzureError", "AzureFault", "Call", "EntraError"]
MAX_CALLS = 10_000
_ENTRA_HEADERS = {
    "Cache-Control": "no-store, no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
_VAULT_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "x-ms-keyvault-region": LOCATION,
    "x-ms-keyvault-network-info": "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
    "x-ms-keyvault-service-version": "1.9.3000.1",
}
_NEVER_OF_HSM = frozenset({"Pragma", "Expires", "x-ms-keyvault-service-version"})
"""Headers of a vault that recorded answers of Managed HSMs do not have. They have no Date either."""


class AzureEmulator(AzureCustomers):
    """An Azure with several directories and vaults; see `AzureCustomers` and `AzureState` for how it is changed."""

    def __init__(self, now: Callable[[], float], rsa_keys: RsaKeys = generate_rsa) -> None:
        super().__init__(now, rsa_keys)
        self._calls: deque[Call] = deque(maxlen=MAX_CALLS)
        self.entra = Entra(self.directory, lambda: self.signer, now)
        self.key_vault = KeyVault(self._management, lambda: self.signer, now)

    @property
    def calls(self) -> list[Call]:
        """The last calls, oldest first."""
        with self.lock:
            return [*self._calls]

    def clear_calls(self) -> None:
        """Forget the calls so far."""
        with self.lock:
            self._calls.clear()

    def knows(self, host: str) -> bool:
        """Whether a name leads here: to Entra, or to a vault that there is."""
        with self.lock:
            return host in AUTHORITIES or self.vaults.at(host) is not None

    def answer(self, request: Request, pause: Callable[[float], object]) -> Answer:
        """Answer a request, unless a fault keeps it from being answered.

        Args:
            request: To Entra, to a vault, or (any other host) to the endpoint of managed identities.
            pause: Waits out a fault's latency.

        Returns:
            The answer, and the fault for the transport to act on.
        """
        with self.lock:
            vault = self.vaults.at(request.host)
        if vault is not None:
            asked = target(request.method, request.path)
            call, headers = _vault_call(request, asked), _headers(vault)
            if "x-ms-client-request-id" in request.headers:
                headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
            return self._faulty(call, pause, lambda: self._at_vault(vault, request, asked), vault, headers)
        if request.host in AUTHORITIES:
            wanted = self.entra.read(request)
            call = Call(request.host, wanted.operation, "", "", 0, wanted.client_id, wanted.tenant)
            return self._faulty(call, pause, lambda: self.entra.answer(request, wanted), None, _ENTRA_HEADERS)
        known = request.path == IDENTITY_PATH and request.method == "GET"
        identity = request.query.get("client_id", "").lower()
        call = Call(request.host, "identity" if known else "unknown", "", "", 0, identity)
        return self._faulty(call, pause, lambda: self.entra.identity(request) if known else Answer(404), None, {})

    def _faulty(
        self,
        call: Call,
        pause: Callable[[float], object],
        act: Callable[[], Answer],
        vault: Vault | None,
        headers: Mapping[str, str],
    ) -> Answer:
        fault = self.faults.take(call)
        if fault is not None and fault.latency:
            pause(fault.latency)
        with self.lock:
            try:
                answer = act() if fault is None or fault.acts_first else _ordered(fault, call, vault)
            except AzureError as error:
                answer = _refusal(vault, error)
                call = replace(call, code=error.inner or error.code)
            except EntraError as error:
                date = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
                answer = entra_refusal(error, str(uuid.uuid4()), date)
                call = replace(call, code=f"AADSTS{error.number}")
            broken = fault is not None and (fault.breaks or fault.lost)
            self._calls.append(replace(call, status=0 if broken else answer.status))
        if fault is not None and fault.corrupt:
            answer = corrupted(answer, fault.corrupt)
        if fault is None or fault.acts_first or fault.refuses:
            answer = answer.adding({"x-ms-request-id": str(uuid.uuid4()), **headers})
        if fault is not None:
            answer = replace(answer, headers={**answer.headers, **fault.headers})
        return replace(answer, fault=fault, dated=vault is None or not vault.hsm)

    def _at_vault(self, vault: Vault, request: Request, asked: Target) -> Answer:
        caller = self.key_vault.authenticate(vault, request)
        answer = self.key_vault.answer(vault, caller, asked, request)
        if self.key_vault.changes(asked):
            self.revision += 1
        return answer

    def save(self, path: Path) -> None:
        """Write directories, applications, vaults and keys to a file that only its owner can read, in the clear.

        Raises:
            OSError: It cannot be written.
        """
        from functions.emulators.azure_persistence import save

        with self.lock:
            save(self, path)

    @classmethod
    def load(cls, path: Path, now: Callable[[], float], rsa_keys: RsaKeys = generate_rsa) -> AzureEmulator:
        """An emulator as it was saved; calls and faults are not.

        Raises:
            OSError: The file cannot be read.
            ValueError: It was not written by `save`.
        """
        from functions.emulators.azure_persistence import restore

        emulator = cls(now, rsa_keys)
        restore(emulator, path)
        return emulator


def _headers(vault: Vault) -> dict[str, str]:
    return {name: value for name, value in _VAULT_HEADERS.items() if not (vault.hsm and name in _NEVER_OF_HSM)}


def _ordered(fault: AzureFault, call: Call, vault: Vault | None) -> Answer:
    """What a fault answers in place of the service.

    Raises:
        AzureError, EntraError: It is to be a refusal.
    """
    if fault.breaks:
        return Answer(0)
    if fault.body is not None:
        return Answer(fault.status or 200, fault.body, {"Content-Type": fault.content_type})
    if fault.redirect:
        return Answer(fault.status or 302, b"", {"Location": fault.redirect})
    if fault.aadsts:
        raise EntraError(fault.aadsts, client=call.client_id, tenant=call.tenant)
    if vault is not None:
        status = fault.status or (401 if fault.challenge else 403)
        raise AzureError(status, fault.message, fault.inner, fault.code, challenge=fault.challenge)
    code = fault.code or "temporarily_unavailable"
    return json_answer(fault.status or 503, {"error": code, "error_description": fault.message})


def _refusal(vault: Vault | None, error: AzureError) -> Answer:
    answer = vault_refusal(error)
    if vault is None or not error.challenge:
        return answer
    # A Managed HSM gives no reason with its challenge.
    body = b"" if vault.hsm else answer.body
    return replace(answer, body=body, headers={**answer.headers, "WWW-Authenticate": challenge_header(vault)})


def _vault_call(request: Request, asked: Target) -> Call:
    authorization = request.headers.get("authorization", "")
    claims: dict[str, Any] = {}
    try:
        claims = jwt.decode(authorization.partition(" ")[2], options={"verify_signature": False})
    except jwt.PyJWTError:
        claims = {}
    return Call(
        request.host,
        asked.operation if authorization else "challenge",
        asked.name,
        asked.version,
        0,
        str(claims.get("appid", "")),
        str(claims.get("tid", "")),
    )
