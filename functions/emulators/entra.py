"""An Entra for the applications and directories of the Azure emulator: tokens, discovery, managed identities.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow"; App Service, "Use managed identities".
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from core.domain.vaults import CLOUDS, CloudName
from functions.emulators.azure_applications import Directory
from functions.emulators.azure_assertions import check_assertion
from functions.emulators.azure_errors import EntraError
from functions.emulators.azure_messages import Answer, Request, json_answer
from functions.emulators.azure_tokens import TOKEN_SECONDS, Signer

AUTHORITIES: Mapping[str, CloudName] = {cloud.authority: name for name, cloud in CLOUDS.items()}
"""Hosts of Entra."""
IDENTITY_PATH = "/msi/token"
"""Where managed identities get their tokens, on the machine itself."""
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TOKEN = "/oauth2/v2.0/token"  # noqa: S105 - a path
_CONFIGURATION = "/v2.0/.well-known/openid-configuration"
_KEYS = "/discovery/v2.0/keys"
_INSTANCE = "/common/discovery/instance"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request to Entra is about.

    Attributes:
        operation: ``token``, ``discovery`` or ``unknown``.
        tenant: As in the path.
        client_id: As given; "" if it is not.
        form: Fields of the body, of a request for a token.
    """

    operation: str
    tenant: str
    client_id: str
    form: Mapping[str, str]


class Entra:
    """Issues tokens.

    Args:
        directory: Who there is.
        signer: Gives the signing key.
        now: Seconds since the epoch.

    Attributes:
        identity_header: Secret that a process of the machine presents to get a managed identity's token.
    """

    def __init__(self, directory: Directory, signer: Callable[[], Signer], now: Callable[[], float]) -> None:
        self.directory = directory
        self.now = now
        self.identity_header = secrets.token_hex(16)
        self._signer = signer

    def read(self, request: Request) -> Asked:
        """What a request is about."""
        tenant, _, rest = request.path.removeprefix("/").partition("/")
        if request.method == "POST" and f"/{rest}" == _TOKEN:
            try:
                form = dict(parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=50))
            except ValueError:
                form = {}
            return Asked("token", tenant.lower(), form.get("client_id", "").lower(), form)
        known = request.path == _INSTANCE or f"/{rest}" in (_CONFIGURATION, _KEYS)
        return Asked("discovery" if request.method == "GET" and known else "unknown", tenant.lower(), "", {})

    def answer(self, request: Request, asked: Asked) -> Answer:
        """Answer a request.

        Raises:
            EntraError: It is refused.
        """
        cloud = AUTHORITIES[request.host]
        if asked.operation == "token":
            return json_answer(200, self._token(cloud, asked))
        if asked.operation == "unknown":
            return Answer(404, b"", {"Content-Type": "text/html"})
        if request.path == _INSTANCE:
            return json_answer(200, _instance(request.host))
        if request.path.endswith(_KEYS):
            return json_answer(200, {"keys": [self._signer().public_jwk()]})
        tenant = self.directory.known_tenant(asked.tenant)
        return json_answer(200, _configuration(request.host, tenant))

    def _token(self, cloud: CloudName, asked: Asked) -> dict[str, Any]:
        form, now = asked.form, self.now()
        tenant = self.directory.known_tenant(asked.tenant)
        if not asked.client_id or "grant_type" not in form:
            raise EntraError(90014)
        if form["grant_type"] != "client_credentials":
            raise EntraError(70003)
        resource = _resource(cloud, form.get("scope", ""), tenant)
        application = self.directory.application(asked.client_id, tenant)
        if application.cloud != cloud:
            raise EntraError(700016, client=asked.client_id, tenant=tenant)
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise EntraError(7000216)
            audiences = {f"https://{CLOUDS[cloud].authority}/{tenant}{path}" for path in (_TOKEN, "/v2.0", "/")}
            check_assertion(form["client_assertion"], application, self._signer(), audiences, now)
        elif "client_secret" in form:
            application.check_secret(form["client_secret"], now)
        else:
            raise EntraError(7000216)
        self.directory.admit(application, tenant)
        token = self._signer().access_token(
            cloud=cloud,
            tenant=tenant,
            client_id=application.client_id,
            resource=resource,
            now=now,
            by_assertion="client_assertion" in form,
        )
        return {
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS - 1,
            "ext_expires_in": TOKEN_SECONDS - 1,
            "access_token": token,
        }

    def identity(self, request: Request) -> Answer:
        """Answer a process of the machine that wants a managed identity's token, as App Service does."""
        presented = request.headers.get("x-identity-header", "")
        if not hmac.compare_digest(presented.encode(), self.identity_header.encode()):
            return json_answer(401, {"statusCode": 401, "message": "The header X-IDENTITY-HEADER is not right."})
        client_id = request.query.get("client_id", "").lower()
        tenant, resource = self.directory.identities.get(client_id), request.query.get("resource", "")
        if tenant is None or not resource:
            return json_answer(
                400,
                {
                    "statusCode": 400,
                    "message": "No User Assigned or Delegated Managed Identity found for specified "
                    "ClientId/ResourceId/PrincipalId.",
                },
            )
        now = self.now()
        token = self._signer().identity_token(
            cloud=self._cloud_of(client_id), tenant=tenant, client_id=client_id, resource=resource, now=now
        )
        return json_answer(
            200,
            {
                "access_token": token,
                "expires_on": str(int(now) + 24 * TOKEN_SECONDS),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id,
            },
        )

    def _cloud_of(self, identity: str) -> CloudName:
        users = (a.cloud for a in self.directory.applications.values() if a.managed_identity == identity)
        return next(users, "public")


def _resource(cloud: CloudName, scope: str, tenant: str) -> str:
    resource, dot, default = scope.rpartition("/")
    if not dot or default != ".default":
        raise EntraError(70011)
    if resource not in (f"https://{CLOUDS[cloud].vault_domain}", f"https://{CLOUDS[cloud].hsm_domain}"):
        raise EntraError(500011, tenant=tenant, resource=resource)
    return resource


def _configuration(authority: str, tenant: str) -> dict[str, Any]:
    base = f"https://{authority}/{tenant}"
    return {
        "token_endpoint": f"{base}{_TOKEN}",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}{_KEYS}",
        "issuer": f"{base}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    }


def _instance(authority: str) -> dict[str, Any]:
    aliases = [authority, "login.windows.net", "sts.windows.net"] if authority.endswith("online.com") else [authority]
    return {
        "tenant_discovery_endpoint": f"https://{authority}/common{_CONFIGURATION}",
        "api-version": "1.1",
        "metadata": [{"preferred_network": authority, "preferred_cache": aliases[-1], "aliases": aliases}],
    }
