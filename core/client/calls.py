"""What every call of the client stands on: the connection, and JSON there and back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from core.client.problems import UnexpectedAnswer
from core.client.transport import OnWait, Transport
from core.client.values import Fields
from core.domain.tenants import check_tenant_id

if TYPE_CHECKING:
    import httpx

JSON = "application/json"


class Calls:
    """A connection to a service; a context manager. Arguments as in `core.client.client.KeysteadClient`."""

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
        self._transport = Transport(
            url,
            token,
            timeout=timeout,
            retries=retries,
            max_wait=max_wait,
            ca_file=ca_file,
            on_wait=on_wait,
            sleep=sleep,
            http=http,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        idempotent: bool = True,
        patience: float = 0,
    ) -> Fields:
        headers = {"Accept": JSON}
        content = None
        if body is not None:
            headers["Content-Type"] = JSON
            content = json.dumps(body).encode()
        answer = self._transport.call(
            method, path, body=content, headers=headers, idempotent=idempotent, patience=patience
        )
        if answer.media_type != JSON:
            raise UnexpectedAnswer("the answer is not JSON")
        return Fields.parse(answer.body)


def tenant_path(tenant_id: str) -> str:
    """The path of a tenant.

    Raises:
        InvalidRequest: That is no tenant id.
    """
    # The pattern leaves nothing that would need quoting in a path.
    return f"/v1/tenants/{check_tenant_id(tenant_id)}"
