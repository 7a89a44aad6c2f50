"""The settings of the clouds: what goes together, and what the composition root gets of it.

An emulator, or anything else that leads calls to a cloud elsewhere, is for the stage ``local`` only.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.domain.vaults import CLOUDS
from functions import readers
from functions.settings_table import PREFIX, SettingsError

if TYPE_CHECKING:
    from core.bootstrap.parts import AwsConfig, AzureConfig
    from functions.settings import Settings

LOCAL_STAGE = "local"
"""The stage of a developer's machine: the only one in which a cloud may be an emulator."""
LOCAL_REGION = "eu-central-1"
LOCAL_CREDENTIALS = ("keystead-local", "keystead-local-secret")
"""What the emulator of AWS knows this service by; worth nothing anywhere else. As in `functions.emulators`."""
LOCAL_AZURE = (
    "00000000-0000-4000-8000-00000000a991",
    "00000000-0000-4000-8000-000000000001",
    "keystead-local-secret",
)
"""The application that the emulator of Azure knows this service by: client id, home tenant, secret. Likewise."""

_CREDENTIALS = ("azure_managed_identity", "azure_certificate_file", "azure_client_secret")
_APPLICATION = ("azure_client_id", "azure_home_tenant", *_CREDENTIALS)
_AWS_ENDPOINT = "AWS_ENDPOINT_URL"
_AUTHORITY = "AZURE_AUTHORITY_HOST"
_AZURE_REDIRECTIONS = frozenset(
    {
        "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "AZURE_REGIONAL_AUTHORITY_NAME",
        "MSAL_FORCE_REGION",
    }
)
"""What azure-identity and MSAL read to ask for tokens elsewhere, or for another tenant's. What Azure's own hosts set
(``IDENTITY_ENDPOINT`` and the like) is not among them."""


def check_clouds(settings: Settings) -> None:
    """Refuse settings of clouds that do not go together.

    Raises:
        SettingsError: They do not.
    """
    _check_aws_endpoint(settings)
    _check_azure_emulator(settings)
    _check_azure_application(settings)
    _check_landing(settings)


def refuse_redirections(settings: Settings, environ: Mapping[str, str]) -> None:
    """Refuse variables by which the clouds' SDKs would send calls elsewhere, outside of the stage ``local``.

    Args:
        settings: The settings.
        environ: All variables that are not empty.

    Raises:
        SettingsError: There is one.
    """
    if settings.stage == LOCAL_STAGE:
        return
    for name in sorted(environ):
        if name == _AWS_ENDPOINT or name.startswith(f"{_AWS_ENDPOINT}_"):
            cloud = "AWS"
        elif name in _AZURE_REDIRECTIONS or (name == _AUTHORITY and not _is_own(environ[name], settings)):
            cloud = "Azure"
        else:
            continue
        raise SettingsError(
            f"{name} sends the calls to {cloud} elsewhere, outside of the stage {LOCAL_STAGE}",
            hint=f"unset it; an emulator is for KEYSTEAD_STAGE={LOCAL_STAGE}",
        )


def aws_config(settings: Settings) -> AwsConfig | None:
    """How tenants' keys in AWS KMS are reached, or None."""
    from core.bootstrap.parts import AwsConfig

    regions, accounts = frozenset(settings.aws_regions), frozenset(settings.aws_accounts)
    if settings.aws_endpoint_url:
        endpoint = settings.aws_endpoint_url.rstrip("/")
        key_id, secret = LOCAL_CREDENTIALS
        regions = regions or frozenset({LOCAL_REGION})
        return AwsConfig(regions, accounts, settings.aws_principal, endpoint, key_id, secret)
    return AwsConfig(regions, accounts, settings.aws_principal) if regions else None


def azure_config(settings: Settings) -> AzureConfig | None:
    """How tenants' keys in Azure Key Vault are reached, or None.

    Raises:
        SettingsError: A file that is named cannot be read.
    """
    from core.bootstrap.parts import AzureConfig

    if not settings.azure_client_id and not settings.azure_emulator:
        return None
    _check_file("azure_certificate_file", settings.azure_certificate_file, _loads_certificate_and_key)
    _check_file("azure_emulator_ca", settings.azure_emulator_ca, _loads_authority)
    client_id, home_tenant = settings.azure_client_id, settings.azure_home_tenant
    secret = settings.azure_client_secret
    if not _given(settings, _APPLICATION):
        client_id, home_tenant, secret = LOCAL_AZURE
    return AzureConfig(
        client_id=client_id,
        home_tenant=home_tenant,
        cloud=settings.azure_cloud,
        managed_identity=settings.azure_managed_identity,
        certificate_file=settings.azure_certificate_file,
        client_secret=secret,
        redirect_url=settings.azure_redirect_url,
        egress=settings.azure_egress,
        dial=settings.azure_emulator,
        ca_file=settings.azure_emulator_ca,
    )


def _check_aws_endpoint(settings: Settings) -> None:
    if not settings.aws_endpoint_url:
        return
    hint = "it is for an emulator on this machine: 'keystead emulator kms' prints its address"
    _check_stage(settings, "aws_endpoint_url", hint)
    try:
        parts = urlsplit(settings.aws_endpoint_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError("KEYSTEAD_AWS_ENDPOINT_URL is no address", hint=hint) from None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not readers.is_loopback(host or ""):
        raise SettingsError("KEYSTEAD_AWS_ENDPOINT_URL is not a loopback address", hint=hint)


def _check_azure_emulator(settings: Settings) -> None:
    both = _given(settings, ("azure_emulator", "azure_emulator_ca"))
    hint = "they are for an emulator on this machine: 'keystead emulator keyvault' prints both"
    for field in both:
        _check_stage(settings, field, hint)
    if len(both) == 1:
        raise SettingsError("KEYSTEAD_AZURE_EMULATOR and KEYSTEAD_AZURE_EMULATOR_CA go together", hint=hint)
    if both:
        try:
            readers.loopback(settings.azure_emulator)
        except ValueError as error:
            raise SettingsError(f"KEYSTEAD_AZURE_EMULATOR {error}", hint=hint) from None


def _check_azure_application(settings: Settings) -> None:
    if not _given(settings, _APPLICATION) and settings.azure_emulator:
        return  # which has an application of its own for this
    if not settings.azure_client_id:
        idle = _given(settings, (*_APPLICATION, "azure_redirect_url", "azure_egress"))
        if settings.azure_cloud != "public":
            idle = (*idle, "azure_cloud")
        if idle:
            raise SettingsError(
                f"{_variable(idle[0])} is set, and KEYSTEAD_AZURE_CLIENT_ID is not",
                hint="name the application with both, or leave out everything of Azure",
            )
        return
    if not settings.azure_home_tenant:
        raise SettingsError(
            "KEYSTEAD_AZURE_CLIENT_ID is set, and KEYSTEAD_AZURE_HOME_TENANT is not",
            hint="it is the id of the Entra tenant in which the application was registered",
        )
    credentials = _given(settings, _CREDENTIALS)
    if len(credentials) != 1:
        found = " and ".join(map(_variable, credentials)) + " are set" if credentials else "none is set"
        raise SettingsError(
            f"the application of KEYSTEAD_AZURE_CLIENT_ID needs exactly one credential, and {found}",
            hint=f"set one of {', '.join(map(_variable, _CREDENTIALS))}; the first is the best where it is possible",
        )


def _check_landing(settings: Settings) -> None:
    url = settings.azure_redirect_url
    if not url:
        return
    hint = "it is the https address under which browsers reach /v1/azure/consent of this service"
    try:
        readers.landing(url)
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SettingsError("KEYSTEAD_AZURE_REDIRECT_URL is no such address", hint=hint) from None
    plain = parts.scheme == "http"
    if not host or (plain and not (settings.stage == LOCAL_STAGE and readers.is_loopback(host))):
        raise SettingsError(
            "KEYSTEAD_AZURE_REDIRECT_URL is not https", hint=f"{hint}; http is for loopback in stage {LOCAL_STAGE}"
        )


def _check_stage(settings: Settings, field: str, hint: str) -> None:
    if settings.stage != LOCAL_STAGE:
        raise SettingsError(f"{_variable(field)} is set outside of the stage {LOCAL_STAGE}", hint=hint)


def _check_file(field: str, path: str, load: Callable[[str], None]) -> None:
    if not path:
        return
    what = "a PEM file with a certificate" + (" and its private key" if load is _loads_certificate_and_key else "")
    try:
        Path(path).read_bytes()
    except (OSError, ValueError):
        raise SettingsError(f"the file that {_variable(field)} names cannot be read", hint=f"it is {what}") from None
    try:
        load(path)
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"the file that {_variable(field)} names is not {what}", hint="name another file") from None


def _loads_authority(path: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)


def _loads_certificate_and_key(path: str) -> None:
    # An empty password: a prompt on a terminal would hold the start.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")


def _is_own(authority: str, settings: Settings) -> bool:
    # Hosts of Azure name the authority of their own cloud; a deployment without an application may be in any.
    clouds = [CLOUDS[settings.azure_cloud]] if settings.azure_client_id else [*CLOUDS.values()]
    return authority.lower().removeprefix("https://").rstrip("/") in {cloud.authority for cloud in clouds}


def _given(settings: Settings, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(settings, name))


def _variable(field: str) -> str:
    return PREFIX + field.upper()
