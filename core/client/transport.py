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
OnWait = Callable[[KeysteadError, float], None]
"""Called before a request is repeated, with why and with the seconds until then."""
CONNECT = 5.0
"""Seconds to wait for a connection at most."""
FIRST_BACKOFF = 0.25
"""Seconds before the first repetition where the service named none; doubled each time."""
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_URL = re.compile(r"[\x21-\x7e]+\Z")
_NETLOC = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:[0-9]*)?\Z")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_MAX_HOST = 253


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
        on_wait: Told before every repetition.
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
        on_wait: OnWait | None = None,
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
        self._on_wait = on_wait
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
        patience: float = 0,
    ) -> Answer:
        """Send a request, and again where that is safe and promises something.

        Args:
            method: HTTP method.
            path: Path and query, starting with a slash.
            body: Request body.
            headers: Besides those every request has.
            idempotent: Whether sending it twice does no more than sending it once. If not, it is repeated only where
                it was never sent.
            patience: Seconds without progress that are borne with in any case, where the service may work for long.

        Returns:
            The answer, if its status is 2xx.

        Raises:
            KeysteadError: The class named by the service's answer.
            ServiceUnreachable: No answer.
            UnexpectedAnswer: An answer that is not the service's.
        """
        for attempt in range(self._retries + 1):
            try:
                return self._once(method, path, body, headers or {}, max(self._timeout, patience))
            except KeysteadError as error:
                wait = FIRST_BACKOFF * 2**attempt if error.retry_after is None else error.retry_after
                if attempt == self._retries or wait > self._max_wait or not _may_repeat(error, idempotent=idempotent):
                    raise
                if self._on_wait is not None:
                    self._on_wait(error, wait)
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

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Answer:
        import httpx

        limits = httpx.Timeout(timeout, connect=min(self._timeout, CONNECT))
        try:
            with self._http.stream(method, path, content=body, headers=headers, timeout=limits) as response:
                received = _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            plain = "WRONG_VERSION_NUMBER" in str(error)  # what TLS makes of an answer that is none of it
            raise ServiceUnreachable(
                f"no connection to {self.url}: {str(error) or type(error).__name__}",
                sent=False,
                hint="does it speak http, and not https?"
                if plain
                else "is the service running there? 'keystead serve' starts one on this machine",
            ) from None
        except (httpx.RequestError, OSError) as error:
            raise ServiceUnreachable(f"no answer from {self.url}: {type(error).__name__}", sent=True) from None
        except (httpx.InvalidURL, UnicodeError):  # a host name that only the library finds fault with
            raise InvalidRequest("the service's URL cannot be used") from None
        if not 200 <= response.status_code < 300:
            raise to_error(response.status_code, response.headers, received)
        return Answer(response.headers.get("content-type", "").partition(";")[0].strip().lower(), received)


def check_url(url: str) -> str:
    """Give a service's address in the form that paths are appended to.

    Raises:
        InvalidRequest: Not an http or https address with nothing but host, port and path; or http to another machine.
    """
    if not _URL.match(url):
        # `urlsplit` would drop line ends and tabs, and a library after it would not.
        raise InvalidRequest(
            "the service's URL is empty, or holds blanks, control characters or letters beyond ASCII",
            hint="write an international host name in its ASCII form, xn--...",
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("the service's URL is malformed") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidRequest(
            "the service's URL must be http or https with a host, and hold no credentials, query or fragment"
        )
    if not _NETLOC.match(parts.netloc) or not _is_host(host):
        raise InvalidRequest("the service's URL names no possible host")
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


def _is_host(host: str) -> bool:
    """Whether a text can be an IP address or a host name in ASCII."""
    if _is_address(host):
        return True
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(_LABEL.match(label) for label in labels):
        return False
    try:
        host.encode().decode("idna")
    except UnicodeError:  # xn-- and then nothing that stands for a name
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _may_repeat(error: KeysteadError, *, idempotent: bool) -> bool:
    if isinstance(error, ServiceUnreachable) and not error.sent:
        return True
    return error.retryable and idempotent


def _bounded(response: httpx.Response) -> bytes:
    """The body, read no further than the limit: what answers may not be the service.

    None was asked to be compressed. One that is could be small here and grow beyond every limit when it is opened.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        if response.is_success:
            raise UnexpectedAnswer("the answer has a Content-Encoding, which was not asked for")
        return b""  # an error of something in between: its status says enough
    out = bytearray()
    for chunk in response.iter_bytes():
        out += chunk
        if len(out) > MAX_ANSWER:
            raise UnexpectedAnswer(f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(out)
