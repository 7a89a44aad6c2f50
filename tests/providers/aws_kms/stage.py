"""A platform, two tenants' AWS accounts and an emulated KMS over the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from core.domain.arns import KeyArn
from core.domain.kek import Kek, KekDescription, KeyAccess, UnwrappedKey, WrappedKey
from core.providers.aws_kms import AwsKms, AwsSettings
from core.providers.aws_kms.setup_kit import key_policy, role_policy, trust_policy
from functions.emulators.kms import (
    CUSTOMER_ACCOUNT,
    DEFAULT_REGION,
    LOCAL_ACCESS_KEY_ID,
    LOCAL_PRINCIPAL,
    LOCAL_SECRET_ACCESS_KEY,
    KmsEmulator,
)
from functions.emulators.wire import serve

TENANT = "acme"
CONTEXT = {"tenant_id": TENANT, "branch-key-id": "bk-1", "type": "branch:ACTIVE"}
EXTERNAL_ID = "xid-CANARY-9f3f31dee6915899"
ROLE = f"arn:aws:iam::{CUSTOMER_ACCOUNT}:role/keystead-byok"
PLATFORM_ACCOUNT = "999999999999"


class StageClock:
    """This machine's time, moved when told: on both clocks, or on one."""

    def __init__(self) -> None:
        self.ahead = self.wall_ahead = self.boot_ahead = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead + self.wall_ahead

    def boot(self) -> float:
        return time.monotonic() + self.ahead + self.boot_ahead


class Stage:
    """An emulator, and a connector to it.

    Attributes:
        emulator: Behind the wire.
        clock: The connector's.
        time_left: Seconds of KMS time left to requests.
    """

    def __init__(self, emulator: KmsEmulator, url: str, clock: StageClock) -> None:
        self.emulator = emulator
        self.clock = clock
        self.time_left = 2.5
        self.settings = AwsSettings(
            regions=frozenset({DEFAULT_REGION}),
            endpoint_url=url,
            access_key_id=LOCAL_ACCESS_KEY_ID,
            secret_access_key=LOCAL_SECRET_ACCESS_KEY,
        )
        self.kms = self.connector(self.settings)

    def connector(self, settings: AwsSettings, **more: Any) -> AwsKms:
        """Another process's connector, as it were."""
        return AwsKms(settings, self.clock, remaining=lambda: self.time_left, **more)

    def key(self, tenant: str = TENANT, account: str = CUSTOMER_ACCOUNT, **more: Any) -> str:
        """A key whose policy names the platform, as the set-up kit says."""
        policy = key_policy("aws", account, LOCAL_PRINCIPAL, tenant)
        return self.emulator.create_key(account=account, **{"policy": policy, **more})

    def access(self, arn: str, tenant: str = TENANT, **more: Any) -> KeyAccess:
        """Access by the key's policy."""
        return KeyAccess(tenant, 1, Kek(arn), **more)

    def role(
        self,
        arns: Sequence[str],
        role: str = ROLE,
        tenant: str = TENANT,
        external_id: str = EXTERNAL_ID,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        """A role that may use these keys, as the set-up kit says."""
        found = role_policy(tenant) if policy is None else policy
        statements = [{**statement, "Resource": list(arns)} for statement in found["Statement"]]
        policies = {"keystead": {**found, "Statement": statements}}
        self.emulator.create_role(role, trust_policy(LOCAL_PRINCIPAL, external_id), policies)

    def role_key(self, account: str = CUSTOMER_ACCOUNT, **more: Any) -> str:
        """A key that leaves access to its account's roles."""
        return self.emulator.create_key(account=account, **more)

    def role_access(self, arn: str, **more: Any) -> KeyAccess:
        """Access by the role."""
        return replace(KeyAccess(TENANT, 1, Kek(arn), ROLE, EXTERNAL_ID), **more)

    def made(self, *operations: str) -> list[str]:
        """The calls so far of these operations (all of them, if none is named)."""
        return [call.operation for call in self.emulator.calls if not operations or call.operation in operations]

    def attempts(self) -> Mapping[str, int]:
        """How often each operation was called."""
        made = self.made()
        return {operation: made.count(operation) for operation in dict.fromkeys(made)}


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage with a server, ended at the end."""
    clock = StageClock()
    emulator = KmsEmulator(now=clock.wall)
    emulator.add_principal(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY, LOCAL_PRINCIPAL)
    with serve(emulator, port=0) as server:
        stage = Stage(emulator, server.url, clock)
        try:
            yield stage
        finally:
            emulator.clear_faults()
            stage.kms.close()


class Dispatcher:
    """A KeyProvider that connects per KEK, as the service does."""

    def __init__(self, kms: AwsKms, template: KeyAccess) -> None:
        self._kms = kms
        self._template = template

    def wrap(self, kek: Kek, key: bytes, context: Mapping[str, str]) -> WrappedKey:
        return self._kms.connect(replace(self._template, kek=kek)).wrap(kek, key, context)

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> UnwrappedKey:
        return self._kms.connect(replace(self._template, kek=wrapped.kek)).unwrap(wrapped, context)

    def describe(self, kek: Kek) -> KekDescription:
        return self._kms.connect(replace(self._template, kek=kek)).describe(kek)


def missing(arn: str) -> Kek:
    """A KEK that does not exist beside one that does."""
    return Kek(str(replace(KeyArn.parse(arn), key_id="00000000-0000-4000-8000-000000000000")))


def unbound(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy without its conditions."""
    bare = [{name: value for name, value in s.items() if name != "Condition"} for s in policy["Statement"]]
    return {**policy, "Statement": bare}


def without(policy: Mapping[str, Any], *sids: str) -> dict[str, Any]:
    """A policy without some of its statements."""
    return {**policy, "Statement": [s for s in policy["Statement"] if s.get("Sid") not in sids]}
