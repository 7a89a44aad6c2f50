"""Data keys handed out to callers, who encrypt on their own (DESIGN 4).

Always fresh, never used by the service, marked ``keystead-use=caller`` in their context; only those are opened here.
Revoking the tenant's key stops new ones, it cannot recall old ones: each is counted before it leaves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from core.domain import context as contexts
from core.domain.encrypted_data_key import parse_serialised, unwrap_data_key, wrap_data_key
from core.domain.kek import KEY_BYTES
from core.errors import ContextMismatch
from core.service.branch_keys import BranchKeys
from core.service.encryption import ATTEMPTS, out_of_attempts
from core.service.handed_out_counts import HandedOutCounts
from core.service.results import DataKeyGrant
from core.service.state_gate import StateGate
from core.service.timekeeper import Timekeeper


class HandedOutKeys:
    """Makes and opens handed-out data keys.

    Args:
        gate: Checks states.
        branch_keys: Gives branch keys.
        timekeeper: Reads the clocks.
        counts: Count them.
    """

    def __init__(
        self, gate: StateGate, branch_keys: BranchKeys, timekeeper: Timekeeper, counts: HandedOutCounts
    ) -> None:
        self._gate = gate
        self._branch_keys = branch_keys
        self._timekeeper = timekeeper
        self._counts = counts

    def grant(self, tenant_id: str, context: Mapping[str, str]) -> DataKeyGrant:
        """Hand out a fresh data key.

        Args:
            tenant_id: The tenant.
            context: The caller's context pairs.

        Raises:
            StoreUnavailable, StoreCorrupt: It could not be counted.
            As `EncryptionService.encrypt` besides.
        """
        contexts.check_caller_context(context)
        full = contexts.message_context(tenant_id, context, use=contexts.USE_CALLER)
        serialised = contexts.serialise(full)
        counted = False
        for _ in range(ATTEMPTS):
            view = self._gate.enter(tenant_id, "write")
            branch_key = self._branch_keys.active(view)
            plain = os.urandom(KEY_BYTES)
            edk = wrap_data_key(branch_key.key, branch_key.branch_key_id, branch_key.version_id, plain, serialised)
            if not counted:
                self._counts.reserve(tenant_id, partial(self._look_again, tenant_id))
                counted = True
            self._gate.confirm(view, "write")
            if branch_key.serves(self._timekeeper.tick()):
                return DataKeyGrant(plain, edk.serialise(), full)
        raise out_of_attempts()

    def _look_again(self, tenant_id: str) -> None:
        # At the view that the gate holds now: one that it let go of while this thread worked serves nobody any more.
        self._gate.reread(self._gate.enter_any(tenant_id))

    def open(self, tenant_id: str, encrypted_data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Open a data key that `grant` handed out.

        Args:
            tenant_id: The caller's tenant.
            encrypted_data_key: A serialised EDK.
            context: The caller's pairs; reserved pairs may be given with them, then they must be right.

        Returns:
            32 bytes.

        Raises:
            MessageInvalid: It is not such a key, or not for this context.
            ContextMismatch: The reserved pairs given are not those of a handed-out key of this tenant.
            As `EncryptionService.decrypt` besides.
        """
        reserved = {contexts.TENANT_KEY: tenant_id, contexts.USE_KEY: contexts.USE_CALLER}
        for key, value in reserved.items():
            if context.get(key, value) != value:
                raise ContextMismatch("the encryption context is not that of a data key handed out to this tenant")
        pairs = {k: v for k, v in context.items() if k not in reserved}
        contexts.check_caller_context(pairs)
        serialised = contexts.serialise(pairs | reserved)
        edk = parse_serialised(encrypted_data_key)
        for _ in range(ATTEMPTS):
            view = self._gate.enter(tenant_id, "read")
            branch_key = self._branch_keys.version(view, edk.branch_key_id, edk.version_id)
            plain = unwrap_data_key(branch_key.key, edk, serialised)
            self._gate.confirm(view, "read")
            if branch_key.serves(self._timekeeper.tick()):
                return plain
        raise out_of_attempts()
