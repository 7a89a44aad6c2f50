"""Who calls a vault, from where, and what that caller may do: the checks in front of every operation.

In the order of the real service: the token, the network, the permission. What is asked for is looked at after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jwt

from functions.emulators.azure_errors import AzureError, forbidden
from functions.emulators.azure_tokens import Signer, issuer
from functions.emulators.keyvault_vaults import Grant, Vault

CLIENT_ADDRESS = "127.0.0.1"
LOCATION = "westeurope"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a token speaks for.

    Attributes:
        client_id: The application.
        tenant: Directory that issued the token.
        object_id: What stands for the application there.
        issuer: As in the token.
    """

    client_id: str
    tenant: str
    object_id: str
    issuer: str

    def __str__(self) -> str:
        return f"appid={self.client_id};oid={self.object_id};iss={self.issuer}"


@dataclass(frozen=True, slots=True)
class Permission:
    """What an operation needs.

    Attributes:
        action: Of `ACTIONS`.
        role: The data action of a role, behind ``Microsoft.KeyVault/vaults/``.
        policy: The permission in an access policy.
    """

    action: str
    role: str
    policy: str


PERMISSIONS: Mapping[str, Permission] = {
    "create": Permission("create", "keys/create/action", "create"),
    "decrypt": Permission("decrypt", "keys/decrypt/action", "decrypt"),
    "delete": Permission("delete", "keys/delete", "delete"),
    "deleted": Permission("deleted", "deletedKeys/read", "get"),
    "encrypt": Permission("encrypt", "keys/encrypt/action", "encrypt"),
    "get": Permission("read", "keys/read", "get"),
    "list": Permission("read", "keys/read", "list"),
    "list-deleted": Permission("deleted", "deletedKeys/read", "list"),
    "purge": Permission("purge", "keys/purge/action", "purge"),
    "recover": Permission("recover", "keys/recover/action", "recover"),
    "rotate": Permission("rotate", "keys/rotate/action", "rotate"),
    "rotationpolicy": Permission("rotationpolicy", "keyrotationpolicies/read", "getrotationpolicy"),
    "set-rotationpolicy": Permission("rotationpolicy", "keyrotationpolicies/write", "setrotationpolicy"),
    "sign": Permission("sign", "keys/sign/action", "sign"),
    "unwrapkey": Permission("unwrap", "keys/unwrap/action", "unwrapKey"),
    "update": Permission("update", "keys/update/action", "update"),
    "versions": Permission("read", "keys/read", "list"),
    "wrapkey": Permission("wrap", "keys/wrap/action", "wrapKey"),
}
"""By operation."""


def challenge_header(vault: Vault) -> str:
    """What tells a client where to get a token for a vault."""
    return f'Bearer authorization="{vault.authority}", resource="{vault.resource}"'


def authenticate(vault: Vault, authorization: str, signer: Signer, now: float) -> Caller:
    """Check a token.

    Args:
        vault: That it was presented to.
        authorization: The header; "" if there was none.
        signer: Who signs tokens.
        now: Seconds since the epoch.

    Raises:
        AzureError: 401.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token:
        raise _unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
    try:
        claims = signer.read(token)
    except jwt.PyJWTError:
        raise _unauthorized("AKV10046: Unable to resolve the key used for signature validation.") from None
    expected, found = issuer(vault.cloud, vault.tenant), str(claims["iss"])
    if found != expected or claims["tid"] != vault.tenant:
        raise _unauthorized(f"AKV10032: Invalid issuer. Expected one of {expected}, found {found}.")
    if claims["aud"] != vault.resource:
        raise _unauthorized(f"AKV10022: Invalid audience. Expected {vault.resource}, found: {claims['aud']}.")
    if not isinstance(claims["exp"], int) or claims["exp"] <= now or claims.get("nbf", 0) > now:
        raise _unauthorized("Error validating token: the token is not valid now.")
    if not claims.get("appid"):
        raise _unauthorized("Error validating token: it names no application.")
    return Caller(str(claims["appid"]), str(claims["tid"]), str(claims.get("oid", "")), found)


def check_network(vault: Vault) -> None:
    """Check that a vault's network rules let the caller in.

    Raises:
        AzureError: 403.
    """
    if vault.network == "firewall":
        raise forbidden(
            "ForbiddenByFirewall",
            "Client address is not authorized and caller is not a trusted service.\r\n"
            f"Client address: {CLIENT_ADDRESS}\r\nCaller: see the audit log\r\nVault: {vault.name};location={LOCATION}",
        )
    if vault.network == "private":
        raise forbidden(
            "ForbiddenByConnection",
            "Connection is not an approved private link and caller was ignored because bypass is not set to "
            f"'AzureServices' and PublicNetworkAccess is set to 'Disabled'.\r\nVault: {vault.name};location={LOCATION}",
        )


def authorise(vault: Vault, caller: Caller, operation: str, key: str) -> Grant:
    """Check that a caller may do something.

    Raises:
        AzureError: 403.
    """
    permission = PERMISSIONS[operation]
    grant = vault.grant_for(caller.client_id, key, permission.action)
    if grant is not None:
        return grant
    if vault.access == "policy" and not vault.hsm:
        raise forbidden(
            "ForbiddenByPolicy",
            f"The user, group or application '{caller}' does not have keys {permission.policy} permission on key vault "
            f"'{vault.name};location={LOCATION}'. For help resolving this issue, please see "
            "https://go.microsoft.com/fwlink/?linkid=2125287",
        )
    kind = "managedHSMs" if vault.hsm else "vaults"
    group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/emulated"
    resource = f"{group}/providers/microsoft.keyvault/{kind.lower()}/{vault.name}" + (f"/keys/{key}" if key else "")
    raise forbidden(
        "ForbiddenByRbac",
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
        "definitions were changed recently, please observe propagation time.\r\n"
        f"Caller: {caller}\r\nAction: 'Microsoft.KeyVault/{kind}/{permission.role}'\r\n"
        f"Resource: '{resource}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"
        f"DecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: {vault.name};location={LOCATION}\r\n",
    )


def _unauthorized(message: str) -> AzureError:
    return AzureError(401, message, challenge=True)
