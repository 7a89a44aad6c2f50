"""Clients of the SDK: one per key to a tenant's KEK, each signing only with what it is handed for the call at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from threading import Lock, local
from typing import Any

from core.providers._quiet_logs import quiet
from core.providers.aws_kms.calls import Answer, Budget, Calls, Request
from core.providers.aws_kms.failures import Failure, own, read
from core.providers.aws_kms.lines import Line, tell_lines
from core.providers.aws_kms.settings import AwsSettings

CONNECT_SECONDS, READ_SECONDS = 1, 2
POOLED = {"kms": 4, "sts": 16}
"""Connections that one client keeps at most. A tenant's client of KMS keeps none between operations."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials of an assumed role."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


class Connection:
    """One client to one service in one Region, made on first use.

    Args:
        factory: Makes it.
        service: ``kms`` or ``sts``.
        region: The Region.
    """

    def __init__(self, factory: ClientFactory, service: str, region: str) -> None:
        self._factory = factory
        self._service, self._region = service, region
        self._signing = _Signing()
        self._client: Any = None
        self._users = 0
        self._lock = Lock()

    def ask(
        self, calls: Calls, request: Request, budget: Budget, credentials: Credentials | None = None
    ) -> Answer | Failure:
        """Make a call, signed with these credentials, or with our own where there are none."""
        endpoint = f"{self._service}.{self._region}"
        return calls.make(request, lambda line: self._ask(request, credentials, line), budget, endpoint)

    def prepare(self) -> None:
        """Make the client now, on this thread: work for the processor, which should count as nobody's KMS time."""
        with suppress(Exception):  # whoever asks next hears why there is no client
            self._made()

    def rest(self) -> None:
        """Close its idle connections, unless a call is under way, which may be about to take one."""
        with self._lock:
            if self._client is not None and not self._users:
                self._client.close()

    def close(self) -> None:
        """Close its idle connections, and forget the client."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, request: Request, credentials: Credentials | None, line: Line) -> Answer | Failure:
        with self._lock:
            self._users += 1
        try:
            with line.used():
                return self._asked(request, credentials)
        finally:
            with self._lock:
                self._users -= 1
            if line.is_cut:  # whoever waited for it has been here before
                self.rest()

    def _asked(self, request: Request, credentials: Credentials | None) -> Answer | Failure:
        from botocore import xform_name

        # Runs on a thread that may be abandoned: whatever is raised is told, and nothing escapes.
        try:
            call = getattr(self._made(), xform_name(request.operation))
            frozen = self._factory.frozen(credentials)
        except Exception as error:  # noqa: BLE001 - configuration and credential chains raise anything
            return own(error, request.operation)
        try:
            with self._signing.using(frozen):
                answer: Answer = call(**request.params)
        except Exception as error:  # noqa: BLE001 - the SDK's parsers raise anything over a broken body
            return read(error, request.operation)
        return answer

    def _made(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._factory.make(self._service, self._region, self._signing)
            return self._client


class ClientFactory:
    """Makes clients, and knows our own credentials.

    Args:
        settings: Endpoint and credentials.
    """

    def __init__(self, settings: AwsSettings) -> None:
        self._settings = settings
        self._own: Any = None
        self._finding = Lock()
        quiet("botocore")

    def make(self, service: str, region: str, signing: _Signing) -> Any:
        """A client that signs with what ``signing`` holds at the time of a call."""
        from botocore.config import Config
        from botocore.session import Session

        # A session of its own, as sessions are not thread-safe; what is costly, the loaded models, is shared.
        session = Session()
        session.register_component("data_loader", _models())
        session.register_component("credential_provider", signing)
        session.set_config_variable("sts_regional_endpoints", "regional")
        client = session.create_client(
            service,
            region_name=region,
            endpoint_url=self._settings.endpoint_url or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                defaults_mode="legacy",  # "auto" would ask the instance metadata service
                retries={"total_max_attempts": 1, "mode": "standard"},
                tcp_keepalive=True,
                max_pool_connections=POOLED[service],
                # What is on this machine is not reached through a proxy, whatever the environment says.
                proxies={} if self._settings.endpoint_url else None,
                # An endpoint comes from the settings or it is AWS's own; a variable must not send keys elsewhere.
                ignore_configured_endpoint_urls=True,
            ),
        )
        tell_lines(client)
        return client

    def frozen(self, credentials: Credentials | None) -> Any:
        """Credentials in the SDK's form: these, or our own as they are now.

        Raises:
            Exception: Our own cannot be had, whatever the SDK raises then.
        """
        from botocore.credentials import ReadOnlyCredentials
        from botocore.exceptions import NoCredentialsError

        if credentials is not None:
            return ReadOnlyCredentials(
                credentials.access_key_id, credentials.secret_access_key, credentials.session_token, None
            )
        settings = self._settings
        if settings.access_key_id:
            return ReadOnlyCredentials(settings.access_key_id, settings.secret_access_key, None, None)
        with self._finding:
            if self._own is None:
                from botocore.session import Session

                self._own = Session().get_credentials()
        if self._own is None:
            raise NoCredentialsError
        return self._own.get_frozen_credentials()


@cache
def _models() -> Any:
    """The SDK's service models: read-only, several megabytes, and slow to read, so one copy for the process."""
    from botocore.loaders import create_loader

    return create_loader()


class _Signing:
    """Stands where the SDK expects credentials, and where it expects their provider.

    It has none of its own: outside `using`, on whatever thread, a request cannot be signed at all.
    """

    method = "keystead"

    def __init__(self) -> None:
        self._held = local()

    def load_credentials(self) -> _Signing:
        return self

    def get_deferred_property(self, _name: str) -> Callable[[], None]:
        """The SDK asks for the account's id, which neither KMS nor STS endpoints need."""
        return lambda: None

    def get_frozen_credentials(self) -> Any:
        return self._held.frozen

    @contextmanager
    def using(self, frozen: Any) -> Iterator[None]:
        self._held.frozen = frozen
        try:
            yield
        finally:
            del self._held.frozen
