"""The client of Azure Tables as the stores want it: short time-outs, no attempts but their own, no redirects."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import InvalidRequest

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
    from azure.data.tables import TableServiceClient

CONNECT_TIMEOUT = 1
READ_TIMEOUT = 2
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def tables_client(
    endpoint: str, credential: AzureNamedKeyCredential | TokenCredential, *, audience: str | None = None
) -> TableServiceClient:
    """A client for `AzureDatabase`; any number of threads may share it.

    Args:
        endpoint: Such as ``https://<account>.table.core.windows.net`` or
            ``https://<account>.table.cosmos.azure.com``; ``http`` only on loopback, for an emulator.
        credential: Proves who we are. How long asking for a token takes is the credential's own affair, and comes on
            top of what an operation of the stores takes.
        audience: For whom tokens are, in another cloud than the public one, such as ``https://storage.azure.us``.

    Returns:
        The SDK's client of the account.

    Raises:
        InvalidRequest: The endpoint is not one. A shared access signature or a key in it is refused, not shown.
    """
    from azure.data.tables import TableServiceClient

    _check(endpoint)
    return TableServiceClient(
        endpoint,
        credential=credential,
        audience=audience,
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        # The SDK repeats a write without telling.
        retry_total=0,
        # It would send the credential along, to whatever host it is sent to.
        permit_redirects=False,
    )


def _check(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if (
        not host
        or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise InvalidRequest(
            "the endpoint of Azure Tables is not an https URL of a host, or has more than that",
            hint="give the URL of the account's table service, and the credential apart from it",
        )
