"""Encrypt and decrypt for a tenant: the warm path is one look-up and the checks of DESIGN 5.

A cached data key serves only while all of these hold: its branch key's lease runs, the tenant's record is fresh and
allows the access, and no purge came after the branch key was asked for. Decrypt checks them again before it returns
plaintext; if one no longer holds it starts over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.domain import context as contexts
from core.domain.encrypted_data_key import bound_to, version_of
from core.domain.kek import KEY_BYTES
from core.domain.message import DEFAULT_FRAME_LENGTH, DataKey, SectionTemplate, own_section
from core.domain.message import decrypt as decrypt_message
from core.domain.message import encrypt as encrypt_message
from core.domain.message_header import Header, parse_header
from core.errors import KeyUnreachable, MessageInvalid
from core.service.branch_key import BranchKey
from core.service.branch_keys import BranchKeys
from core.service.lru import LruCache
from core.service.state_gate import StateGate
from core.service.tenant_view import TenantView
from core.service.timekeeper import Timekeeper

ATTEMPTS = 3
"""How often an operation starts over when a lease ends or a purge comes while it runs."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Limits of the data key caches.

    Attributes:
        entries: Most data keys kept, for encrypting and for decrypting each.
        messages: Messages one data key may encrypt.
        bytes: Bytes of plaintext one data key may encrypt.
        age: Seconds one data key may encrypt for.
    """

    entries: int = 4096
    messages: int = 1_000_000
    bytes: int = 1 << 36
    age: float = 300


class CachedDataKey:
    """A data key, what it hangs on, and what is left of its limits.

    Args:
        key: The data key.
        branch_key: The branch key that wraps it.
        context: The caller's context pairs.
        limits: What it may do.
        made: Both clocks when it was made.
    """

    __slots__ = (
        "_boot_end",
        "_boot_until",
        "_bytes",
        "_generation",
        "_messages",
        "_wall_end",
        "_wall_until",
        "branch_key",
        "context",
        "key",
        "view",
    )

    def __init__(
        self,
        key: DataKey,
        branch_key: BranchKey,
        context: Mapping[str, str],
        limits: CacheLimits,
        made: tuple[float, float],
    ) -> None:
        self.key = key
        self.branch_key = branch_key
        self.view: TenantView = branch_key.view
        self.context = dict(context)
        self._messages = limits.messages
        self._bytes = limits.bytes
        self._wall_end, self._boot_end = made[0] + limits.age, made[1] + limits.age
        self.renew(branch_key.generation)

    def __repr__(self) -> str:
        return f"<CachedDataKey under {self.branch_key!r}>"

    def renew(self, generation: float) -> None:
        """Let it serve for as long as its branch key's lease runs and the tenant's record is fresh, as of now.

        Args:
            generation: The branch key's, before it was found to serve.
        """
        branch_key, view = self.branch_key, self.view
        self._generation: float = generation
        self._wall_until = min(branch_key.wall_until, view.wall_until)
        self._boot_until = min(branch_key.boot_until, view.boot_until)

    def serves(self, tick: tuple[float, float]) -> bool:
        """Whether lease, state age and generation hold now. The state itself is asked beside it."""
        wall, boot = tick
        return wall < self._wall_until and boot < self._boot_until and self._generation == self.view.generation

    def take(self, size: int, tick: tuple[float, float]) -> bool:
        """Use it for one message of ``size`` bytes, if its own limits allow.

        Not locked: threads that count at the same time may exceed a limit by one message each. The limits lie many
        orders of magnitude below what the cipher allows.
        """
        if self._messages < 1 or self._bytes < size or tick[0] >= self._wall_end or tick[1] >= self._boot_end:
            return False
        self._messages -= 1
        self._bytes -= size
        return True


class EncryptionService:
    """Encrypts and decrypts messages of tenants.

    Args:
        gate: Checks states.
        branch_keys: Gives branch keys.
        timekeeper: Reads the clocks.
        fallback: Gives the one to use while the tenant's own KEK cannot be reached, where the tenant chose that.
        limits: Of the data key caches.
        frame_length: Bytes of plaintext per frame of new messages.
    """

    def __init__(
        self,
        gate: StateGate,
        branch_keys: BranchKeys,
        timekeeper: Timekeeper,
        *,
        fallback: Callable[[TenantView], BranchKey],
        limits: CacheLimits | None = None,
        frame_length: int = DEFAULT_FRAME_LENGTH,
    ) -> None:
        self._gate = gate
        self._branch_keys = branch_keys
        self._tick = timekeeper.tick
        self._fallback = fallback
        self._limits = limits or CacheLimits()
        self._frame_length = frame_length
        self._encrypting: LruCache[tuple[object, ...], CachedDataKey] = LruCache(self._limits.entries)
        self._decrypting: LruCache[tuple[str, bytes], CachedDataKey] = LruCache(self._limits.entries)
        self._templates: LruCache[tuple[object, ...], SectionTemplate] = LruCache(self._limits.entries)
        # An entry in use is put again whenever the tenant's record was read anew; that keeps the order well enough.
        self._find_encrypting = self._encrypting.peek
        self._find_decrypting = self._decrypting.peek

    def encrypt(self, tenant_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt a value into a message.

        Args:
            tenant_id: The tenant that owns the data.
            plaintext: The value.
            context: The caller's context pairs; the same are needed to decrypt.

        Raises:
            InvalidRequest: The context is not allowed.
            NotFound: There is no such tenant.
            KeyWithheld, Unavailable: The tenant's key does not serve.
            ServiceFault: Our stores or keys are broken.
        """
        read_clocks, find = self._tick, self._find_encrypting
        tick = read_clocks()
        entry = find((tenant_id, *context.items()))
        if entry is not None and entry.serves(tick) and entry.view.may_write and entry.take(len(plaintext), tick):
            return encrypt_message(entry.key, plaintext)
        return self._encrypt_cold(tenant_id, plaintext, context)

    def decrypt(self, tenant_id: str, message: bytes, context: Mapping[str, str], *, foreign: bool = False) -> bytes:
        """Decrypt a message.

        Args:
            tenant_id: The caller's tenant.
            message: The whole message.
            context: The pairs given to encrypt, exactly.
            foreign: Whether other writers' messages of suite 0x0478 are read too.

        Raises:
            MessageInvalid: The message is damaged, or not this tenant's.
            ContextMismatch: The pairs differ.
            NotFound, KeyWithheld, Unavailable, ServiceFault: As `encrypt`.
        """
        read_clocks, find = self._tick, self._find_decrypting
        entry = find((tenant_id, own_section(message)))
        if entry is not None and entry.serves(read_clocks()) and context == entry.context and not foreign:
            plaintext = decrypt_message(entry.key, message)
            if entry.serves(read_clocks()) and entry.view.may_read:
                return plaintext
        return self._decrypt_cold(tenant_id, message, context, foreign=foreign)

    def _encrypt_cold(self, tenant_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        size = len(plaintext)
        for _ in range(ATTEMPTS):
            view = self._gate.enter(tenant_id, "write")
            contexts.check_caller_context(context)
            falls_back = view.record.falls_back
            branch_key = self._fallback(view) if falls_back else self._branch_keys.active(view)
            template = self._template(view, context, branch_key.branch_key_id)
            tick = self._tick()
            cache_key = (tenant_id, *context.items())
            entry = self._find_encrypting(cache_key)
            if entry is None or entry.branch_key is not branch_key or not entry.take(size, tick):
                plain = os.urandom(KEY_BYTES)
                ciphertext = branch_key.wrapping.wrap(template.bound, branch_key.version, plain, template.context)
                key = DataKey(plain, template.fill(ciphertext), template.frame_length)
                entry = CachedDataKey(key, branch_key, context, self._limits, tick)
                entry.take(size, tick)
            message = encrypt_message(entry.key, plaintext)
            self._gate.confirm(view, "write")
            generation = branch_key.generation  # before the looks that it stands for
            if branch_key.serves(self._tick()) and (view.record.falls_back or not falls_back):
                if branch_key.cacheable:
                    entry.renew(generation)
                    self._encrypting.put(cache_key, entry)
                return message
        raise out_of_attempts()

    def _decrypt_cold(self, tenant_id: str, message: bytes, context: Mapping[str, str], *, foreign: bool) -> bytes:
        for _ in range(ATTEMPTS):
            view = self._gate.enter(tenant_id, "read")
            key: DataKey | None = None
            if foreign:
                branch_key, plaintext = self._decrypt_foreign(view, message, context)
            else:
                branch_key, key = self._data_key(view, message, context)
                plaintext = decrypt_message(key, message)
            self._gate.confirm(view, "read")
            if branch_key.serves(self._tick()):
                # Only a section that has just been authenticated may be found again without its keys.
                if key is not None and branch_key.cacheable:
                    entry = CachedDataKey(key, branch_key, context, self._limits, self._tick())
                    self._decrypting.put((tenant_id, key.section), entry)
                return plaintext
        raise out_of_attempts()

    def _template(self, view: TenantView, context: Mapping[str, str], branch_key_id: str = "") -> SectionTemplate:
        cache_key, branch_key_id = (view.tenant_id, *context.items()), branch_key_id or view.record.branch_key_id
        template = self._templates.get(cache_key)
        if template is None or template.branch_key_id != branch_key_id:
            contexts.check_caller_context(context)
            serialised = contexts.serialise(contexts.message_context(view.tenant_id, context))
            template = SectionTemplate(serialised, branch_key_id, self._frame_length)
            self._templates.put(cache_key, template)
        return template

    def _data_key(self, view: TenantView, message: bytes, context: Mapping[str, str]) -> tuple[BranchKey, DataKey]:
        template, section = self._template(view, context), own_section(message)
        found = template.read(section)
        if found is not None:
            ciphertext, frame_length = found
            branch_key = self._branch_keys.version(view, template.branch_key_id, version_of(ciphertext))
            plain = branch_key.wrapping.unwrap(template.bound, ciphertext, template.context)
            return branch_key, DataKey(plain, section, frame_length)
        # Made with a handed-out key, or something is wrong with it: the parser tells.
        header = parse_header(message)
        contexts.require_context(header.context, view.tenant_id, context)
        branch_key, plain = self._open(view, header)
        return branch_key, DataKey(plain, header.section, header.frame_length)

    def _decrypt_foreign(self, view: TenantView, message: bytes, context: Mapping[str, str]) -> tuple[BranchKey, bytes]:
        from core.domain.foreign import decrypt_foreign  # by an explicit flag only

        header = parse_header(message, foreign=True)
        contexts.require_context(header.context, view.tenant_id, context)
        branch_key, plain = self._open(view, header)
        return branch_key, decrypt_foreign(message, lambda _header: plain)

    def _open(self, view: TenantView, header: Header) -> tuple[BranchKey, bytes]:
        error = MessageInvalid("the message was not encrypted under a branch key of this tenant")
        serialised = contexts.serialise(header.context)
        for edk in header.edks:
            if edk.is_hierarchical and self._branch_keys.owns(view, edk.branch_key_id):
                try:
                    branch_key = self._branch_keys.version(view, edk.branch_key_id, edk.version_id)
                    plain = branch_key.wrapping.unwrap(bound_to(edk.branch_key_id), edk.ciphertext, serialised)
                except MessageInvalid as failed:
                    error = failed  # a foreign message may have another that opens
                else:
                    return branch_key, plain
        raise error


def out_of_attempts() -> KeyUnreachable:
    """What a caller hears when an operation could not be completed under one lease."""
    return KeyUnreachable("the tenant's key was withdrawn or its lease ended while the request ran", retry_after=1)
