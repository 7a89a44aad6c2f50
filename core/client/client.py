"""The HTTP API as typed calls."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from core.client import values
from core.client.calls import tenant_path
from core.client.key_calls import KeyCalls
from core.client.problems import UnexpectedAnswer
from core.client.transport import MAX_BODY
from core.client.values import DataKeyGrant, Tenant
from core.domain.context import check_caller_context
from core.errors import PayloadTooLarge

BINARY = "application/octet-stream"
CONTEXT_HEADER, FOREIGN_HEADER = "Keystead-Context", "Keystead-Foreign"
MAX_CONTEXT_HEADER = 16 * 1024
"""Bytes of a context in a header. Servers and proxies refuse long ones; a longer one goes into a JSON body."""


class KeysteadClient(KeyCalls):
    """Calls a Keystead service with one token; safe to share between threads, and a context manager.

    Every method raises only `KeysteadError`: the class the service named, `ServiceUnreachable` where it did not
    answer, `UnexpectedAnswer` where something else did. Calls are repeated only where the error is retryable and
    repeating does no harm.

    Args:
        url: The service's address. ``https``, or ``http`` to a loopback address.
        token: Bearer token. Never shown in reprs, errors or logs.
        timeout: Seconds without progress after which an exchange is given up.
        retries: How often a call is repeated at most.
        max_wait: The longest time to wait before a repetition, in seconds.
        ca_file: PEM file of the authorities to trust instead of the system's.
        on_wait: Told before a call is repeated: why, and in how many seconds.
        sleep: Waits for a number of seconds.
        http: What carries the requests instead of the network.

    Raises:
        InvalidRequest: The URL is not such an address.
        Unauthenticated: The token cannot be one.
    """

    def create_tenant(self, tenant_id: str, *, display_name: str = "") -> Tenant:
        """Create a tenant, or show it if it exists.

        Args:
            tenant_id: Matches ``^[a-z0-9][a-z0-9-]{0,62}$``.
            display_name: For people.
        """
        body = {"display_name": display_name} if display_name else {}
        return values.tenant(self._json("PUT", tenant_path(tenant_id), body))

    def list_tenants(self) -> Iterator[Tenant]:
        """Every tenant, in order of id, fetched page by page as they are read."""
        after = ""
        while True:
            page = self._json("GET", "/v1/tenants?" + urlencode({"after": after} if after else {}))
            yield from (tenants := page.items("tenants", values.tenant))
            following = page.optional("next", str)
            if following is None:
                return
            if not tenants or following <= after:
                raise UnexpectedAnswer("the list of tenants does not move forward")
            after = following

    def show_tenant(self, tenant_id: str) -> Tenant:
        """One tenant."""
        return values.tenant(self._json("GET", tenant_path(tenant_id)))

    def update_tenant(
        self,
        tenant_id: str,
        *,
        display_name: str | None = None,
        offering: str | None = None,
        accept_unbound_policy: bool | None = None,
    ) -> Tenant:
        """Change what the operator knows of a tenant; None leaves a thing as it is.

        Args:
            tenant_id: The tenant.
            display_name: For people.
            offering: What the tenant has bought.
            accept_unbound_policy: Whether a key policy that is not bound to the tenant may pass.
        """
        given = {"display_name": display_name, "offering": offering, "accept_unbound_policy": accept_unbound_policy}
        body = {name: value for name, value in given.items() if value is not None}
        return values.tenant(self._json("PATCH", tenant_path(tenant_id), body))

    def encrypt(self, tenant_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt a value in the service.

        Args:
            tenant_id: The tenant that owns it.
            plaintext: At most 4 MiB; `core.client.files` takes any length.
            context: The caller's pairs; decrypting needs the same.

        Returns:
            The message.
        """
        return self._data(tenant_path(tenant_id) + "/encrypt", ("plaintext", "message"), plaintext, context)

    def decrypt(self, tenant_id: str, message: bytes, context: Mapping[str, str], *, foreign: bool = False) -> bytes:
        """Decrypt a message in the service.

        Args:
            tenant_id: The tenant that owns it.
            message: At most 4 MiB.
            context: Exactly the pairs given when encrypting.
            foreign: Accept messages that other writers of the format made.

        Returns:
            The plaintext.
        """
        path = tenant_path(tenant_id) + "/decrypt"
        return self._data(path, ("message", "plaintext"), message, context, foreign=foreign)

    def new_data_key(self, tenant_id: str, context: Mapping[str, str]) -> DataKeyGrant:
        """Have a fresh data key handed out.

        Args:
            tenant_id: The tenant whose data it will protect.
            context: The caller's pairs; the grant's context holds ours too.
        """
        check_caller_context(context)
        # Each one handed out is counted in the tenant's receipts, so none is asked for twice.
        return values.data_key_grant(
            self._json("POST", tenant_path(tenant_id) + "/data-keys", {"context": dict(context)}, idempotent=False)
        )

    def open_data_key(self, tenant_id: str, encrypted_data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Have a handed-out data key opened.

        Args:
            tenant_id: The tenant it was handed out for.
            encrypted_data_key: As in the grant, or as it stands in a message header.
            context: The grant's whole context, or only the caller's pairs.

        Returns:
            32 bytes.
        """
        body = {"encrypted_data_key": base64.b64encode(encrypted_data_key).decode(), "context": dict(context)}
        return self._json("POST", tenant_path(tenant_id) + "/data-keys/decrypt", body).data("data_key", size=32)

    def _data(
        self, path: str, names: tuple[str, str], data: bytes, context: Mapping[str, str], *, foreign: bool = False
    ) -> bytes:
        """Send bytes and get bytes: as they are, or in JSON under two names where the context is too long for a header.

        A context that counts as short enough can be several times as long in JSON, control characters above all.
        """
        check_caller_context(context)
        if len(data) > MAX_BODY:
            raise _too_large(MAX_BODY)
        text = base64.b64encode(json.dumps(dict(context), ensure_ascii=False).encode()).decode()
        if len(text) <= MAX_CONTEXT_HEADER:
            return self._raw(path, data, text if context else "", foreign=foreign)
        body: dict[str, object] = {names[0]: base64.b64encode(data).decode(), "context": dict(context)}
        if foreign:
            body["foreign"] = True
        over = len(json.dumps(body)) - MAX_BODY
        if over > 0:
            raise _too_large(len(data) - (over + 3) // 4 * 3)
        return self._json("POST", path, body).data(names[1])

    def _raw(self, path: str, data: bytes, context: str, *, foreign: bool) -> bytes:
        headers = {"Accept": BINARY, "Content-Type": BINARY}
        if context:
            headers[CONTEXT_HEADER] = context
        if foreign:
            headers[FOREIGN_HEADER] = "true"
        answer = self._transport.call("POST", path, body=data, headers=headers, idempotent=True)
        if answer.media_type != BINARY:
            raise UnexpectedAnswer(f"the answer is not {BINARY}")
        return answer.body


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the service takes at most {limit} bytes at a time",
        hint="encrypt files with a data key ('keystead encrypt', core.client.files): any length",
    )
