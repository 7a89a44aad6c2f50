"""Reads which canary keys the operator keeps, and whether this deployment reaches them as it reaches tenants' keys.

::

    [{"kek": "arn:aws:kms:eu-central-1:111122223333:key/...", "role_arn": "arn:aws:iam::...", "external_id": "..."},
     {"kek": "https://canaries.vault.azure.net/keys/canary", "entra_tenant": "..."}]

A canary that is nearer to this service than a tenant's key would serve where a tenant's is refused, and so lay our own
fault at the tenant's door: keys in the account of our identity, or in our own Entra tenant, are refused.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.domain.arns import KeyArn, RoleArn
from core.domain.canaries import Canary
from core.domain.kek import Kek
from core.domain.vaults import VaultKey
from core.errors import InvalidRequest
from functions.cloud_settings import LOCAL_STAGE, aws_config, azure_config
from functions.settings_table import SettingsError
from functions.strict_json import parse_json

if TYPE_CHECKING:
    from functions.settings import Settings

MOST = 64
_FIELDS = tuple(item.name for item in fields(Canary))


def read_canaries(settings: Settings) -> tuple[Canary, ...]:
    """The setting KEYSTEAD_CANARIES: JSON, or the path of a file that holds it.

    Raises:
        SettingsError: It is not what the module's docstring shows, or names a key that cannot be a canary here.
    """
    text = settings.canaries
    if not text:
        return ()
    try:
        document = parse_json((text if text.lstrip().startswith("[") else _read(text)).encode(), what="it")
    except InvalidRequest as error:
        raise _wrong(error.detail) from None
    if not isinstance(document, list) or len(document) > MOST:
        raise _wrong(f"it is a JSON list of at most {MOST} canaries")
    found: list[Canary] = []
    for number, item in enumerate(document, 1):
        try:
            canary = _canary(item)
            _check_reach(canary, settings)
            if canary.kek in {other.kek for other in found}:
                raise InvalidRequest("its key is named before")
        except InvalidRequest as error:
            raise _wrong(f"number {number}: {error.detail}", error.hint) from None
        found.append(canary)
    return tuple(found)


def _canary(item: Any) -> Canary:
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        raise InvalidRequest("a canary is a JSON object of texts")
    if not {"kek"} <= set(item) <= set(_FIELDS):
        raise InvalidRequest(f"a canary has a kek, and of other fields only {', '.join(_FIELDS[1:])}")
    return Canary(**item).check()


def _check_reach(canary: Canary, settings: Settings) -> None:
    provider = Kek(canary.kek).provider
    if provider == "aws_kms":
        _check_aws(canary, settings)
    elif provider == "azure_key_vault":
        _check_azure(canary, settings)
    elif settings.stage != LOCAL_STAGE:
        raise InvalidRequest(f"a local key is a canary in stage {LOCAL_STAGE} only")


def _check_aws(canary: Canary, settings: Settings) -> None:
    aws = aws_config(settings)
    if aws is None:
        raise InvalidRequest("this service reaches no keys in AWS KMS", hint="set KEYSTEAD_AWS_REGIONS")
    key = KeyArn.parse(canary.kek)
    if key.region not in aws.regions:
        raise InvalidRequest(
            f"keys in the Region {key.region} are not served", hint=f"KEYSTEAD_AWS_REGIONS has {', '.join(aws.regions)}"
        )
    accounts = {key.account} | ({RoleArn.parse(canary.role_arn).account} if canary.role_arn else set())
    if aws.principal and aws.principal.split(":")[4] in accounts:
        raise InvalidRequest(
            "a canary cannot lie in the account of KEYSTEAD_AWS_PRINCIPAL",
            hint="make it in another account, as tenants' keys are; KEYSTEAD_AWS_ACCOUNTS may name that account",
        )


def _check_azure(canary: Canary, settings: Settings) -> None:
    azure = azure_config(settings)
    if azure is None:
        raise InvalidRequest("this service reaches no keys in Azure Key Vault", hint="set KEYSTEAD_AZURE_CLIENT_ID")
    cloud = VaultKey.parse(canary.kek).cloud
    if cloud != azure.cloud:
        raise InvalidRequest(f"keys in the cloud {cloud} are not served", hint=f"KEYSTEAD_AZURE_CLOUD is {azure.cloud}")
    if canary.entra_tenant == azure.home_tenant:
        raise InvalidRequest(
            "a canary cannot lie in the Entra tenant of KEYSTEAD_AZURE_HOME_TENANT",
            hint="make it in another Entra tenant, as tenants' keys are",
        )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise _wrong("the file it names cannot be read") from None


def _wrong(what: str, hint: str | None = None) -> SettingsError:
    return SettingsError(f"KEYSTEAD_CANARIES: {what}", hint=hint or 'it looks like [{"kek": "arn:aws:kms:..."}]')
