"""Our service and the official client over the same rows, and the cases both are tried with."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from io import BytesIO
from itertools import product
from typing import Any, NamedTuple

from core.bootstrap import Application, Config, Leaves, assemble
from core.domain.context import message_context, serialise
from core.domain.encrypted_data_key import unwrap_data_key, wrap_data_key
from core.domain.kek import Kek
from core.domain.message import DataKey
from core.domain.message_header import Header
from core.domain.tenants import TenantRecord
from core.errors import MessageInvalid
from core.providers.system_clock import SystemClock
from core.service.branch_key import BranchKey
from core.stores.memory import MemoryAuditLog, MemoryKeyStore, MemoryTenantStore
from tests.interop.moto_kms import MotoKms
from tests.interop.official import Cloud, Official
from tests.interop.rows import copy_rows

TABLE = "rows-in-dynamodb"
LOGICAL_NAME = "keystead-branch-keys"
KIB, MIB = 1 << 10, 1 << 20
SIZES = (0, 1, 100, 4096, 4097, MIB)
FRAME_LENGTHS = (4 * KIB, 64 * KIB, MIB)
CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "empty": {},
    "simple": {"dataset": "invoices", "app": "orders"},
    "non-ascii": {"zß": "ünï", "名前": "値", "🔑": "naïve — ключ"},
}


class Case(NamedTuple):
    """One value to exchange: its size in bytes, the frame length, and the name of the caller's context."""

    size: int
    frame_length: int
    context_name: str

    @property
    def plaintext(self) -> bytes:
        """The value, the same every time."""
        return random.Random(self.size).randbytes(self.size)

    @property
    def context(self) -> Mapping[str, str]:
        """The caller's context pairs."""
        return CONTEXTS[self.context_name]

    @property
    def ends_in_an_empty_frame(self) -> bool:
        """Whether the official writer ends it with an empty final frame, which our strict reader does not know."""
        return self.size > 0 and self.size % self.frame_length == 0

    def __str__(self) -> str:
        return f"{self.size}B-{self.frame_length // KIB}KiB-{self.context_name}"


CASES = [Case(*case) for case in product(SIZES, FRAME_LENGTHS, CONTEXTS)]


class Trickle:
    """A source that gives at most 1000 bytes at a time, as sockets and pipes do.

    Args:
        data: What it gives in all.
    """

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, fewer if it likes."""
        return self._data.read(min(size, 1000))


class Quiet:
    """`core.ports.Events` and `core.ports.Signer` for tests that need neither; keeps what was emitted."""

    def __init__(self) -> None:
        self.emitted: list[str] = []

    def emit(self, event_type: str, subject: str, data: Mapping[str, Any]) -> None:
        self.emitted.append(f"{event_type} {subject} {dict(data)}")

    def sign(self, payload: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def jwks(self) -> Mapping[str, Any]:
        return {"keys": []}


class Exchange:
    """A deployment of ours whose platform key is a KMS key, and official clients that know no more than its rows.

    Args:
        cloud: The account both use.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.kms_arn = cloud.new_key()
        self.quiet = Quiet()
        self._leaves = Leaves(
            clock=SystemClock(),
            key_store=MemoryKeyStore(),
            tenant_store=MemoryTenantStore(),
            audit_log=MemoryAuditLog(),
            signer=self.quiet,
            events=self.quiet,
            platform=MotoKms(cloud.kms),
            platform_kek=Kek(self.kms_arn),
        )
        cloud.new_table(TABLE)
        self.official = Official(cloud, TABLE, LOGICAL_NAME, self.kms_arn)
        self.key_store = self._leaves.key_store
        self.applications = self._assemble()

    @property
    def app(self) -> Application:
        """The application with the default frame length."""
        return self.applications[64 * KIB]

    def _assemble(self) -> dict[int, Application]:
        return {
            length: assemble(Config(store="memory", table_name=LOGICAL_NAME, frame_length=length), self._leaves)
            for length in FRAME_LENGTHS
        }

    def add_tenant(self, tenant_id: str) -> TenantRecord:
        """Create a tenant and copy its rows into the table."""
        record, _ = self.app.tenants.create(tenant_id)
        copy_rows(self.key_store, record.branch_key_id, self.cloud.dynamodb, TABLE)
        return record

    def rotate(self, tenant_id: str) -> None:
        """Rotate a tenant's branch key, copy the rows again, and forget whatever any process of ours cached."""
        rotation = self.app.rotation.rotate(tenant_id)
        copy_rows(self.key_store, rotation.branch_key_id, self.cloud.dynamodb, TABLE)
        self.applications = self._assemble()

    def keyring(self, tenant_id: str) -> Any:
        """A hierarchical keyring of the official client for a tenant's branch key, with an empty cache."""
        return self.official.hierarchical(self.app.tenants.read(tenant_id).branch_key_id)

    def ours(self, tenant_id: str, case: Case) -> bytes:
        """A message of our service."""
        return self.applications[case.frame_length].encryption.encrypt(tenant_id, case.plaintext, case.context)

    def theirs(self, tenant_id: str, case: Case, keyring: Any) -> bytes:
        """A message of the official client under the context our service would use."""
        return self.official.encrypt(
            keyring,
            case.plaintext,
            message_context(tenant_id, case.context),
            frame_length=case.frame_length,
        )

    def branch_key(self, tenant_id: str) -> BranchKey:
        """A tenant's ACTIVE branch key, unwrapped."""
        return self.app.branch_keys.active(self.app.gate.enter(tenant_id, "write"))

    def data_key(self, tenant_id: str, context: Mapping[str, str], frame_length: int) -> DataKey:
        """A fresh data key for messages made without the service, under any context."""
        branch_key, plain, serialised = self.branch_key(tenant_id), os.urandom(32), serialise(context)
        edk = wrap_data_key(branch_key.key, branch_key.branch_key_id, branch_key.version_id, plain, serialised)
        return DataKey.wrapped(plain, edk, serialised, frame_length=frame_length)

    def open_key(self, tenant_id: str, header: Header) -> bytes:
        """The data key of a message, for readers used without the service."""
        view = self.app.gate.enter(tenant_id, "read")
        for edk in header.edks:
            if edk.is_hierarchical:
                branch_key = self.app.branch_keys.version(view, edk.branch_key_id, edk.version_id)
                return unwrap_data_key(branch_key.key, edk, serialise(header.context))
        raise MessageInvalid("the message was not encrypted under a branch key of this tenant")
