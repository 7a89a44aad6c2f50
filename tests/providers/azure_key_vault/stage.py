"""A platform's application, two tenants' directories, and an emulated Azure over the wire."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey
from core.domain.vaults import VaultKey
from core.providers.azure_key_vault import AzureKeyVault, AzureSettings
from core.providers.azure_key_vault.calls import Calls
from functions.emulators.azure_wire import AzureEmulatorServer, serve
from functions.emulators.azure_world import AzureEmulator, AzureFault
from functions.emulators.keyvault_material import generate_rsa

TENANT, OTHER_TENANT = "acme", "globex"
CONTEXT = {"tenant_id": TENANT, "branch-key-id": "bk-1", "type": "branch:ACTIVE"}
EXTERNAL_ID = "xid-CANARY-9f3f31dee6915899"
CLIENT_ID = "11111111-1111-4111-8111-111111111111"
HOME = "22222222-2222-4222-8222-222222222222"
DIRECTORY = "33333333-3333-4333-8333-333333333333"
OTHER_DIRECTORY = "44444444-4444-4444-8444-444444444444"
SECRET = "SECRET-CANARY~7b1c"
AUTHORITY = "login.microsoftonline.com"
_numbers = count(1)


class StageClock:
    """This machine's time, moved when told: on both clocks, or on one."""

    def __init__(self) -> None:
        self.ahead = self.wall_ahead = self.boot_ahead = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead + self.wall_ahead

    def boot(self) -> float:
        return time.monotonic() + self.ahead + self.boot_ahead


@cache
def _rsa(size: int, number: int) -> RSAPrivateKey:
    return generate_rsa(size)


class KeySupply:
    """RSA keys made once per process, each handed out once per stage: making one is slow."""

    def __init__(self) -> None:
        self._given: dict[int, int] = {}

    def __call__(self, size: int) -> RSAPrivateKey:
        self._given[size] = self._given.get(size, -1) + 1
        return _rsa(size, self._given[size])

    def again(self) -> None:
        """Begin again, behind the one that signs tokens."""
        self._given = {2048: 0}


class Platform:
    """One emulator and its server, for many stages one after the other."""

    def __init__(self) -> None:
        self.clock = StageClock()
        self.keys = KeySupply()
        self.emulator = AzureEmulator(lambda: self.clock.wall(), self.keys)
        self.emulator.signer.public_jwk()  # made with the first of the keys, which no stage is given
        self.server: AzureEmulatorServer = serve(self.emulator)


class Stage:
    """Directories and a vault that no stage before had, and a connector to them.

    Attributes:
        emulator: Behind the wire.
        clock: The connector's, and the emulator's.
        time_left: Seconds of KMS time left to requests.
        vault: Address of a vault in `DIRECTORY`, where the platform may use every key.
    """

    def __init__(self, platform: Platform) -> None:
        from azure.keyvault.keys._shared import http_challenge_cache

        http_challenge_cache.clear()
        self.emulator, self.server = platform.emulator, platform.server
        self.clock = platform.clock = StageClock()
        platform.keys.again()
        self.time_left = 2.5
        self.settings = AzureSettings(
            CLIENT_ID, HOME, dial=self.server.dial, ca_file=self.server.ca_file, client_secret=SECRET
        )
        self.emulator.skew = 0.0
        self.emulator.clear_faults()
        self.emulator.clear_calls()
        self.emulator.add_application(CLIENT_ID, HOME, secret=SECRET)
        for directory in (DIRECTORY, OTHER_DIRECTORY):
            self.emulator.consent(CLIENT_ID, directory)
            self.emulator.enable_application(CLIENT_ID, directory)
            self.emulator.set_conditional_access(CLIENT_ID, directory, blocked=False)
        self.emulator.enable_application(CLIENT_ID, HOME)
        self.vault = self.new_vault()
        self._made: list[AzureKeyVault] = []
        self.kms = self.connector()

    def connector(self, settings: AzureSettings | None = None, **more: Any) -> AzureKeyVault:
        """Another process's connector, as it were; it asks again without a pause, which would take most of the time."""
        made = AzureKeyVault(settings or self.settings, self.clock, remaining=lambda: self.time_left, **more)
        made._tokens._calls = made._calls = Calls(pause=lambda _: None)
        self._made.append(made)
        return made

    def new_vault(self, directory: str = DIRECTORY, **more: Any) -> str:
        """A vault in which the platform may use every key."""
        url = self.emulator.create_vault(f"kv-{next(_numbers)}", directory, **more)
        self.emulator.grant(url, CLIENT_ID)
        return url

    def key(self, name: str = "kek", vault: str = "", **more: Any) -> Kek:
        """A version of a key."""
        return Kek(self.emulator.create_key(vault or self.vault, name, **{"size": 2048, **more}))

    def access(self, kek: Kek, **more: Any) -> KeyAccess:
        """How it is reached."""
        given = {"external_id": EXTERNAL_ID, "entra_tenant": DIRECTORY, **more}
        return replace(KeyAccess(TENANT, 1, kek.key), **given)

    def fault(self, operation: str = "*", **more: Any) -> None:
        """Have something go wrong."""
        self.emulator.add_fault(AzureFault(operation, **more))

    def made(self, *operations: str) -> list[str]:
        """The calls so far of these operations (all of them, if none is named)."""
        return [call.operation for call in self.emulator.calls if not operations or call.operation in operations]

    def attempts(self) -> Mapping[str, int]:
        """How often each operation was called."""
        made = self.made()
        return {operation: made.count(operation) for operation in dict.fromkeys(made)}

    def close(self) -> None:
        """Let go what hangs, and close the connectors."""
        self.emulator.clear_faults()
        for connector in self._made:
            connector.close()


class Dispatcher:
    """A KeyProvider that connects per KEK, as the service does."""

    def __init__(self, kms: AzureKeyVault, template: KeyAccess) -> None:
        self._kms = kms
        self._template = template

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        return self._kms.connect(replace(self._template, kek=kek)).wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        return self._kms.connect(replace(self._template, kek=wrapped.kek)).unwrap(wrapped, context)

    def describe(self, kek: Kek) -> KekDescription:
        return self._kms.connect(replace(self._template, kek=kek)).describe(kek)


def missing(kek: Kek, name: str = "missing") -> Kek:
    """A version of a key that does not exist beside one that does."""
    return Kek(str(replace(VaultKey.parse(kek.locator), name=name)))


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server of one function on loopback, ended at the end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
