"""Between the SDK's HTTP library and the network: which hosts, how much of an answer, and what the SDK gets to see.

At most `MAX_BODY` bytes of an answer are read. The SDK writes what it cannot read as JSON into its logs, and that may
be the better half of a token; so it never gets to see such an answer.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from core.providers._lines import telling
from core.providers.azure_key_vault.trust import trusting

CONNECT_SECONDS = 5
MAX_BODY = 64 * 1024
"""A key with 15 tags has less than 10 KiB."""
_POOLED = 32
"""Connections kept while an operation is under way; as many as requests that a process serves at a time."""
_CHUNK = 8192


class Seen(NamedTuple):
    """An answer as it arrived.

    Attributes:
        status: HTTP status.
        headers: With lower-case names.
        body: At most `MAX_BODY` bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a body is, or None."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@cache
def adapter_class() -> type[Any]:
    """The class, made on first use, as the library it is derived from is loaded then.

    Its arguments: the names of the only hosts, or None for any; the address that every connection goes to, or None for
    where the names lead; and whom to tell what arrives.
    """
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ConnectionError as Broken
    from requests.exceptions import InvalidURL
    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.exceptions import HTTPError
    from urllib3.util import parse_url

    class Adapter(HTTPAdapter):
        def __init__(
            self,
            hosts: frozenset[str] | None,
            dial: tuple[str, int] | None,
            note: Callable[[Seen | None], None],
        ) -> None:
            self._hosts = hosts
            self._pools = {"https": _pool(dial), "http": telling(HTTPConnectionPool)}
            self._note = note
            super().__init__(pool_connections=1, pool_maxsize=_POOLED, max_retries=0)

        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, **more)
            self.poolmanager.pool_classes_by_scheme = self._pools

        def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
            manager = super().proxy_manager_for(*args, **more)
            manager.pool_classes_by_scheme = self._pools
            return manager

        def build_connection_pool_key_attributes(
            self, request: Any, verify: Any, cert: Any = None
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
            return host, {"cert_reqs": "CERT_REQUIRED", "ssl_context": trusting(verify)}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            """Nothing: the context knows whom to trust."""

        def send(self, request: Any, *args: Any, **more: Any) -> Any:
            self._note(None)
            asked = parse_url(request.url)
            if self._hosts is not None and (asked.scheme, asked.netloc, asked.auth) not in [
                ("https", host, None) for host in self._hosts
            ]:
                raise InvalidURL("nothing is sent to another host", request=request)
            response = super().send(request, *args, **{**more, "stream": True})
            try:
                body = _bounded(response.raw)
            except (HTTPError, OSError, ValueError):
                response.close()
                raise Broken("an answer that cannot be read", request=request) from None
            headers = {name.lower(): value for name, value in response.headers.items()}
            self._note(Seen(response.status_code, headers, body))
            if json_object(body) is None:
                body, response.headers["Content-Type"] = b"{}", "application/json"
            # What the library itself would keep, had it read the answer.
            response._content, response._content_consumed = body, True  # noqa: SLF001
            return response

    return Adapter


def _bounded(raw: Any) -> bytes:
    """All of an answer's body, as it came: nobody asked for a compressed one, so none is unpacked.

    Raises:
        ValueError: It is too long.
        HTTPError, OSError: It ended early.
    """
    body = bytearray()
    while chunk := raw.read(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError("too long")
    return bytes(body)


@cache
def _pool(dial: tuple[str, int] | None) -> type[Any]:
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool
    from urllib3.exceptions import NewConnectionError

    if dial is None:
        return telling(HTTPSConnectionPool)
    address = dial

    class Dialled(HTTPSConnection):
        """Connects to one address, whatever the host's name is."""

        def _new_conn(self) -> socket.socket:
            try:
                found = socket.create_connection(address, CONNECT_SECONDS)
            except OSError as error:
                raise NewConnectionError(self, type(error).__name__) from None
            for option in self.socket_options or ():
                found.setsockopt(*option)
            return found

    class DialledPool(HTTPSConnectionPool):
        """The pool of such connections."""

        ConnectionCls = Dialled

    return telling(DialledPool)
