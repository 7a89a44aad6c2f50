"""One HTTP exchange with the service: where to, with which token, how often, and what counts as an answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.client.problems import ServiceUnreachable, UnexpectedAnswer, to_error
from core.errors import InvalidRequest, KeysteadError, Unauthenticated

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request body that the service takes (DESIGN 7)."""
MAX_ANSWER = 2 * MAX_BODY
"""Bytes of an answer that are read; base64 and JSON around a largest body fit."""
FIRST_BACKOFF = 0.25
"""Seconds before the first repetition where the service named none; doubled each time."""
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: media type without parameters, and the body."""

    media_type: str
    body: bytes = field(repr=False)


class Transport:
    """Sends requests; safe to share between threads.

    Args:
        url: The service's address. ``https``, or ``http`` to a loopback address.
        token: Bearer token.
        timeout: Seconds without progress after which an exchange is given up.
        retries: How often a request is repeated at most.
        max_wait: The longest time to wait before a repetition, in seconds. Where the service asks for more, its error
            is raised at once.
        ca_file: PEM file of the authorities to trust instead of the system's.
        sleep: Waits for a number of seconds.
        http: What carries the requests instead of the network.

    Raises:
        InvalidRequest: The URL is not such an address.
        Unauthenticated: The token cannot be one.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        retries: int = 2,
        max_wait: float = 10.0,
        ca_file: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = check_url(url)
        if not _TOKEN.match(token):
            # A header library would refuse it too, and show it in the error.
            raise Unauthenticated("the token is empty or contains characters that no token has")
        self._token = token
        self._timeout = timeout
        self._retries = retries
        self._max_wait = max_wait
        self._ca_file = ca_file
        self._sleep = sleep
        self._carrier = http

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool,
    ) -> Answer:
        """Send a request, and again where that is safe and promises something.

        Args:
            method: HTTP method.
            path: Path and query, starting with a slash.
            body: Request body.
            headers: Besides those every request has.
            idempotent: Whether sending it twice does no more than sending it once. If not, it is repeated only where
                it was never sent.

        Returns:
            The answer, if its status is 2xx.

        Raises:
            KeysteadError: The class named by the service's answer.
            ServiceUnreachable: No answer.
            UnexpectedAnswer: An answer that is not the service's.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._once(method, path, body, headers or {})
            except KeysteadError as error:
                wait = FIRST_BACKOFF * 2**attempt if error.retry_after is None else error.retry_after
                if attempt == self._retries or wait > self._max_wait or not _may_repeat(error, idempotent=idempotent):
                    raise
            self._sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        http = self.__dict__.pop("_http", None)
        if http is not None:
            http.close()

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self._token}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, 5.0)),
            follow_redirects=False,
            # Neither proxies nor netrc entries from the environment may see or change the token.
            trust_env=False,
            verify=self._tls(),
            transport=self._carrier,
        )

    def _tls(self) -> SSLContext | bool:
        if self.url.startswith("http:"):
            return False
        import ssl

        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequest(f"the file of trusted authorities cannot be read: {error.strerror}") from None

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        import httpx

        try:
            with self._http.stream(method, path, content=body, headers=headers) as response:
                received = _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ServiceUnreachable(
                f"no connection to {self.url}: {str(error) or type(error).__name__}",
                sent=False,
                hint="is the service running there? 'keystead serve' starts one on this machine",
            ) from None
        except httpx.RequestError as error:
            raise ServiceUnreachable(f"no answer from {self.url}: {type(error).__name__}", sent=True) from None
        if not 200 <= response.status_code < 300:
            raise to_error(response.status_code, response.headers, received)
        return Answer(response.headers.get("content-type", "").partition(";")[0].strip().lower(), received)


def check_url(url: str) -> str:
    """Give a service's address in the form that paths are appended to.

    Raises:
        InvalidRequest: Not an http or https address with nothing but host, port and path; or http to another machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("the service's URL is malformed") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequest(
            "the service's URL must be http or https with a host, and hold no credentials, query or fragment"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidRequest(
            "the token would cross the network unprotected: the service's URL must be https",
            hint="plain http is for this machine only: 127.0.0.1, [::1] or localhost",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _may_repeat(error: KeysteadError, *, idempotent: bool) -> bool:
    if isinstance(error, ServiceUnreachable) and not error.sent:
        return True
    return error.retryable and idempotent


def _bounded(response: httpx.Response) -> bytes:
    """The body, read no further than the limit: what answers may not be the service."""
    out = bytearray()
    for chunk in response.iter_bytes():
        out += chunk
        if len(out) > MAX_ANSWER:
            raise UnexpectedAnswer(f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(out)
