"""An Azure with a vendor's application and a customer's vault, and the SDK's clients that speak to it."""

from __future__ import annotations

import itertools
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from requests.adapters import HTTPAdapter

from functions.emulators.azure_wire import AzureEmulatorServer
from functions.emulators.azure_world import AzureEmulator
from functions.emulators.keyvault_material import base64url, generate_rsa

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

START = 1_800_000_000.0
HOME = "00000000-0000-4000-8000-0000000000aa"
TENANT = "00000000-0000-4000-8000-0000000000bb"
OTHER_TENANT = "00000000-0000-4000-8000-0000000000cc"
CLIENT = "00000000-0000-4000-8000-000000000001"
OWNER = "00000000-0000-4000-8000-000000000002"
IDENTITY = "00000000-0000-4000-8000-000000000003"
SECRET = "the application's secret"
OWNER_SECRET = "the owner's secret"
_SHARED_KEYS = 3
FORBIDDEN = {
    name: (403, "Forbidden", name)
    for name in (
        *("KeyDisabled", "KeyExpired", "KeyNotYetValid", "KeyOperationForbidden"),
        *("ForbiddenByRbac", "ForbiddenByPolicy", "ForbiddenByFirewall", "ForbiddenByConnection"),
    )
}
"""Refusals with 403, by inner code, as `refused` tells them."""
GONE = (404, "KeyNotFound", None)
"""How what is not there is refused."""


@cache
def shared_rsa_key(size: int, number: int) -> RSAPrivateKey:
    """A key that is made once in a process."""
    return generate_rsa(size)


def rsa_keys() -> Callable[[int], RSAPrivateKey]:
    """A source that gives a few shared keys in turn: no two neighbours are the same."""
    turns: dict[int, Iterator[int]] = {}

    def next_key(size: int) -> RSAPrivateKey:
        turn = turns.setdefault(size, itertools.cycle(range(_SHARED_KEYS)))
        return shared_rsa_key(size, next(turn))

    return next_key


class DiallingAdapter(HTTPAdapter):
    """Connects to one address whatever the URL says; Host, SNI and the check of the certificate stay the URL's."""

    def __init__(self, dial: str) -> None:
        self._host, _, port = dial.rpartition(":")
        self._port = int(port)
        super().__init__()

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        pool |= {"server_hostname": host["host"], "assert_hostname": host["host"]}
        return {**host, "host": self._host, "port": self._port}, pool

    def add_headers(self, request: Any, **_: Any) -> None:
        request.headers["Host"] = urlsplit(request.url).netloc


@dataclass
class World:
    """An emulator, its clock, its server; a vault of TENANT that CLIENT may use as the role says, and OWNER in all."""

    time: float = START
    emulator: AzureEmulator = field(init=False)
    vault: str = field(init=False)

    def __post_init__(self) -> None:
        self.emulator = AzureEmulator(lambda: self.time, rsa_keys())
        self.emulator.add_application(CLIENT, HOME, SECRET)
        self.emulator.add_application(OWNER, TENANT, OWNER_SECRET)
        self.emulator.consent(CLIENT, TENANT)
        self.vault = self.make_vault("acme-kv")

    def make_vault(self, name: str, **given: Any) -> str:
        """A vault of TENANT's, with the two grants."""
        from functions.emulators.keyvault_vaults import ACTIONS

        url = self.emulator.create_vault(name, given.pop("tenant", TENANT), **given)
        self.emulator.grant(url, CLIENT)
        self.emulator.grant(url, OWNER, actions=ACTIONS)
        return url

    def key(self, name: str = "kek", **given: Any) -> str:
        """A key in the vault; the identifier of its version."""
        return self.emulator.create_key(self.vault, name, **given)

    @property
    def operations(self) -> list[str]:
        """What was called, without the requests that only elicit a challenge and those to Entra."""
        aside = ("challenge", "token", "discovery", "identity")
        return [call.operation for call in self.emulator.calls if call.operation not in aside]


@dataclass
class Sdk:
    """Makes the SDK's clients for a server."""

    server: AzureEmulatorServer
    opened: list[Any] = field(default_factory=list)

    @property
    def transport(self) -> RequestsTransport:
        """A transport of the SDK's that dials the server, certificates checked."""
        return self.timed(20)

    def timed(self, read_timeout: float) -> RequestsTransport:
        """The same with a limit of its own; what a client is given of those is not its transport's."""
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", DiallingAdapter(self.server.dial))
        self.opened.append(session)
        return RequestsTransport(
            session=session, session_owner=False, connection_verify=self.server.ca_file, read_timeout=read_timeout
        )

    def credential(self, tenant: str = TENANT, client: str = CLIENT, secret: str = SECRET, **given: Any) -> Any:
        """A credential with a secret."""
        return ClientSecretCredential(tenant, client, secret, transport=self.transport, **given)

    def owner(self) -> Any:
        """The credential of the vault's owner."""
        return self.credential(client=OWNER, secret=OWNER_SECRET)

    def keys(self, url: str, credential: Any = None, read_timeout: float = 20) -> KeyClient:
        """A client of a vault; it does not retry."""
        return KeyClient(url, credential or self.credential(), transport=self.timed(read_timeout), retry_total=0)

    def cryptography(self, kid: str, credential: Any = None) -> CryptographyClient:
        """A client of a key."""
        return CryptographyClient(kid, credential or self.credential(), transport=self.transport, retry_total=0)

    def raw(self, method: str, url: str, **given: Any) -> requests.Response:
        """A request as it is, without the SDK."""
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", DiallingAdapter(self.server.dial))
            return session.request(method, url, verify=self.server.ca_file, allow_redirects=False, timeout=20, **given)

    def close(self) -> None:
        for session in self.opened:
            session.close()


def send(client: KeyClient, method: str, path: str, content: Any = None) -> HttpResponse:
    """A request through a client's pipeline; what was refused raises as the client's own methods do."""
    response = client.send_request(HttpRequest(method, path, json=content))
    if response.status_code >= 400:
        raise HttpResponseError(response=response)
    return response


def use(client: KeyClient, kid: str, operation: str, value: bytes, algorithm: str = "RSA-OAEP-256") -> dict[str, Any]:
    """One of the cryptographic operations, by the service and nobody else."""
    path = f"{urlsplit(kid).path}/{operation}"
    found: dict[str, Any] = send(client, "POST", path, {"alg": algorithm, "value": base64url(value)}).json()
    return found


def unpadded(value: str) -> bytes:
    """What base64url without padding stands for."""
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def inner(error: HttpResponseError) -> tuple[int | None, str | None, str | None]:
    """Status, code and inner code, as the SDK tells them."""
    details: Mapping[str, Any] = getattr(error.error, "innererror", None) or {}
    return error.status_code, None if error.error is None else error.error.code, details.get("code")


def refused(call: Callable[[], object]) -> tuple[int | None, str | None, str | None] | None:
    """How a call is refused, or None if it is not."""
    try:
        call()
    except HttpResponseError as error:
        return inner(error)
    return None
