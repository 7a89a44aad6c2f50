"""The refusals of an emulated Azure: Key Vault's, with their inner codes, and Entra's, with their AADSTS numbers.

Sources: Key Vault, "Common error codes" and "REST API error codes"; Microsoft Entra, "Authentication and authorization
error codes"; answers that users published.
"""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[int, str] = {
    400: "BadParameter",
    401: "Unauthorized",
    403: "Forbidden",
    404: "KeyNotFound",
    409: "Conflict",
    429: "Throttled",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
"""The code that Key Vault gives with a status, where nothing more exact is known."""

AADSTS: Mapping[int, tuple[int, str, str]] = {
    50013: (401, "invalid_client", "Assertion failed signature validation."),
    53003: (
        400,
        "invalid_grant",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    70003: (400, "unsupported_grant_type", "The app requested an unsupported grant type."),
    70011: (400, "invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    90002: (
        400,
        "invalid_request",
        (
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
            "correct cloud. Check with your subscription administrator, this may happen if there are no active "
            "subscriptions for the tenant."
        ),
    ),
    90014: (400, "invalid_request", "The required field is missing from the credential. Ensure that you have it."),
    90033: (503, "temporarily_unavailable", "A transient error has occurred. Please try again."),
    90055: (429, "temporarily_unavailable", "Server is terminating this request because there are too many requests."),
    500011: (
        400,
        "invalid_resource",
        (
            "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if "
            "the application has not been installed by the administrator of the tenant."
        ),
    ),
    530032: (400, "invalid_grant", "User blocked by a security policy that is configured by the tenant administrator."),
    700016: (
        400,
        "unauthorized_client",
        (
            "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the "
            "application has not been installed by the administrator of the tenant or consented to by any user in the "
            "tenant. You may have sent your authentication request to the wrong tenant."
        ),
    ),
    700021: (401, "invalid_client", "Client assertion application identifier doesn't match 'client_id' parameter."),
    700023: (401, "invalid_client", "Client assertion audience claim does not match Realm issuer."),
    700024: (401, "invalid_client", "Client assertion is not within its valid time range."),
    700027: (
        401,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application.",
    ),
    700211: (401, "invalid_client", "No matching federated identity record found for presented assertion issuer."),
    700212: (401, "invalid_client", "No matching federated identity record found for presented assertion audience."),
    700213: (401, "invalid_client", "No matching federated identity record found for presented assertion subject."),
    7000112: (400, "unauthorized_client", "Application '{client}' is disabled."),
    7000215: (
        401,
        "invalid_client",
        (
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
            "not the client secret ID, for a secret added to app '{client}'."
        ),
    ),
    7000216: (
        401,
        "invalid_client",
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    ),
    7000222: (401, "invalid_client", "The provided client secret keys for app '{client}' are expired."),
    7000229: (
        401,
        "invalid_client",
        "The client application {client} is missing service principal in the tenant {tenant}.",
    ),
}
"""By number: HTTP status, OAuth error, text."""


class AzureError(Exception):
    """A refusal of Key Vault.

    Args:
        status: Of HTTP.
        message: For people.
        inner: Code of the inner error, which tells the cause; "" for none.
        code: "" for the one that goes with the status.
        challenge: Whether it tells how to authenticate.
    """

    def __init__(self, status: int, message: str, inner: str = "", code: str = "", *, challenge: bool = False) -> None:
        super().__init__(f"{status} {inner or code or CODES.get(status, '')}: {message}")
        self.status = status
        self.code = code or CODES.get(status, "Unknown")
        self.message = message
        self.inner = inner
        self.challenge = challenge


class EntraError(Exception):
    """A refusal of Entra.

    Args:
        number: AADSTS number, one of `AADSTS`.
        client: Application that asked.
        tenant: Directory that was asked.
        resource: What was asked for.
    """

    def __init__(self, number: int, *, client: str = "", tenant: str = "", resource: str = "") -> None:
        self.status, self.error, text = AADSTS[number]
        self.number = number
        self.text = f"AADSTS{number}: " + text.format(client=client, tenant=tenant, resource=resource)
        super().__init__(self.text)


def bad_parameter(message: str) -> AzureError:
    """The refusal of a malformed request, or of bytes that do not belong to the key."""
    return AzureError(400, message)


def forbidden(inner: str, message: str) -> AzureError:
    """A refusal with 403 and its cause."""
    return AzureError(403, message, inner)


def key_not_found(name: str) -> AzureError:
    """There is no such key or version, or it is deleted."""
    return AzureError(
        404,
        f"A key with (name/id) {name} was not found in this key vault. If you recently deleted this key you may be "
        "able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def deleted_key_not_found(name: str) -> AzureError:
    """There is no deleted key of this name."""
    return AzureError(404, f"Deleted Key not found: {name}")


def name_is_taken(name: str) -> AzureError:
    """A deleted key has this name."""
    return AzureError(
        409,
        f"Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, "
        "the key can only be recovered or purged.",
        "ObjectIsDeletedButRecoverable",
    )
