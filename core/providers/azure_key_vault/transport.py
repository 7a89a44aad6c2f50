"""How the SDK reaches the network: to named hosts only, verified, bounded, and without memory.

Each client has a transport of its own. It speaks https to the vault or the token endpoint it was made for and to
nobody else, follows no redirect, keeps no cookie, and takes no password from a netrc file. Where the settings name an
emulator every connection goes there; names, certificates and host checks stay as they are.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from threading import local
from typing import TYPE_CHECKING, Any

from core.providers.azure_key_vault.adapters import CONNECT_SECONDS, Seen, adapter_class
from core.providers.azure_key_vault.settings import AzureSettings
from core.providers.azure_key_vault.trust import trusting

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

READ_SECONDS = 10
"""An upper limit, as `CONNECT_SECONDS` is; an operation's budget ends earlier."""


class Wire:
    """The transport of one client, and what it saw last.

    Args:
        settings: Where an emulator is, if there is one.
        hosts: Names of the only hosts that anything is sent to. None is for this machine's managed identity: its
            endpoint is named by the machine, has no https, is no emulator's, and is never reached through a proxy,
            which would read the machine's secret and the identity's token.
    """

    def __init__(self, settings: AzureSettings, hosts: frozenset[str] | None) -> None:
        self._last = local()
        self._session = _session(settings, hosts, self)
        self._verify: str | bool = settings.ca_file if settings.dial else True

    @property
    def last(self) -> Seen | None:
        """The last answer to a request of this thread; None where its last request had none."""
        found: Seen | None = getattr(self._last, "seen", None)
        return found

    def note(self, seen: Seen | None) -> None:
        """Take down what arrived; None when a request sets out."""
        self._last.seen = seen

    def transport(self) -> RequestsTransport:
        """For the SDK. Its ``close`` does nothing: the SDK would put a plain session in this one's place."""
        from azure.core.pipeline.transport import RequestsTransport

        return RequestsTransport(
            session=self._session,
            session_owner=False,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            connection_verify=self._verify,
        )

    def prepare(self) -> None:
        """Read the certificate authorities now; they are kept for all wires.

        Raises:
            OSError, ValueError: They cannot be read.
        """
        chosen = self._session.merge_environment_settings("https://", {}, False, self._verify, None)
        trusting(chosen["verify"])

    def rest(self) -> None:
        """Close idle connections until they are needed again."""
        self._session.close()


def _session(settings: AzureSettings, hosts: frozenset[str] | None, wire: Wire) -> Any:
    from requests import Session

    session = Session()
    # The emulator is on this machine and is not reached through a proxy, whatever the environment says.
    session.trust_env = hosts is not None and not settings.dial
    session.auth = _as_it_is
    session.headers["Accept-Encoding"] = "identity"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    session.adapters.clear()
    adapter = adapter_class()(hosts, None if hosts is None else _dialled(settings.dial), wire.note)
    for scheme in ("https://",) if hosts is not None else ("https://", "http://"):
        session.mount(scheme, adapter)
    return session


def _as_it_is(request: Any) -> Any:
    """Stands where requests would otherwise look for a password in a netrc file and overwrite the token with it."""
    return request


def _dialled(dial: str) -> tuple[str, int] | None:
    host, _, port = dial.rpartition(":")
    return (host, int(port)) if dial else None
