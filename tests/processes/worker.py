"""The process under test: an application over a data directory, driven by its standard input.

``python -m tests.processes.worker write DIR SEED`` creates tenants, encrypts and rotates until it is killed, and prints
each message once its encrypt has returned. ``... serve DIR LEASE`` answers ``encrypt``, ``decrypt HEX`` and
``decrypt-stopped HEX``; the last stops the process between the KMS's answer and the cache.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from core.bootstrap import Application, Config, assemble, local_leaves
from core.domain.kek import Kek, KekDescription, UnwrappedKey, WrappedKey
from core.domain.key_policy import KeyPolicy
from core.errors import Conflict, KeysteadError
from core.ports import KeyProvider


class StoppingProvider:
    """Stops this process after the next unwrap, when armed."""

    def __init__(self, inner: KeyProvider) -> None:
        self.inner = inner
        self.armed = False

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        return self.inner.wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        answer = self.inner.unwrap(wrapped, context)
        if self.armed and "branch-key-id" in context:
            self.armed = False
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    def describe(self, kek: Kek) -> KekDescription:
        return self.inner.describe(kek)


def open_application(data_dir: Path, lease: float = 60) -> tuple[Application, StoppingProvider]:
    """The embedded default with a provider that can stop the process."""
    config = Config(data_dir=data_dir, policy=KeyPolicy(lease=lease, outage_grace=lease))
    leaves = local_leaves(config)
    provider = StoppingProvider(leaves.platform)
    return assemble(config, replace(leaves, platform=provider)), provider


def write(data_dir: Path, seed: int) -> None:
    """Work until killed."""
    rng = random.Random(seed)
    for number in itertools.count():
        app, _ = open_application(data_dir)
        # A fresh application now and then: caches must not hide what was not stored.
        for _ in range(rng.randint(1, 8)):
            tenant = f"t{rng.randint(0, 5 + number)}"
            app.tenants.create(tenant)
            act = rng.random()
            if act < 0.3:
                try:
                    app.rotation.rotate(tenant)
                except Conflict:
                    continue
            plaintext = f"{tenant} {rng.random()}".encode()
            message = app.encryption.encrypt(tenant, plaintext, {"n": str(number)})
            print(tenant, number, plaintext.hex(), message.hex(), flush=True)
        app.close()


def serve(data_dir: Path, lease: float) -> None:
    """Answer commands."""
    app, provider = open_application(data_dir, lease)
    app.tenants.create("acme")
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            if command == "encrypt":
                print(app.encryption.encrypt("acme", b"secret", {}).hex(), flush=True)
                continue
            if command == "decrypt-stopped":
                app.gate.purge("acme")
                provider.armed = True
            print(app.encryption.decrypt("acme", bytes.fromhex(arguments[0]), {}).decode(), flush=True)
        except KeysteadError as error:
            print(f"refused {error.code}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        serve(Path(sys.argv[2]), float(sys.argv[3]))
