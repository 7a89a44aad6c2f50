"""Connectors to the clouds in which tenants hold their KEKs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.bootstrap.parts import AwsConfig, AzureConfig, Config
from core.domain.kek import ProviderName
from core.ports import Clock, KeyConnector
from core.service.kms_budget import KmsBudget

if TYPE_CHECKING:
    from core.providers.aws_kms import AwsSettings
    from core.providers.azure_key_vault import AzureSettings


def cloud_connectors(
    config: Config, clock: Clock, budget: KmsBudget
) -> tuple[dict[ProviderName, KeyConnector], tuple[Callable[[], None], ...]]:
    """The connectors that a deployment is configured for, and what lets go of them.

    Args:
        config: Of the deployment.
        clock: Reads the clocks.
        budget: Counts the KMS time of a request.
    """
    # Providers are imported where they are built, so that a deployment loads only its own.
    connectors: dict[ProviderName, KeyConnector] = {}
    closers: list[Callable[[], None]] = []
    if config.aws is not None:
        from core.providers.aws_kms import AwsKms

        aws = AwsKms(aws_settings(config.aws), clock, remaining=budget.remaining)
        connectors["aws_kms"] = aws
        closers.append(aws.close)
    if config.azure is not None:
        from core.providers.azure_key_vault import AzureKeyVault

        azure = AzureKeyVault(azure_settings(config.azure), clock, remaining=budget.remaining)
        connectors["azure_key_vault"] = azure
        closers.append(azure.close)
    return connectors, tuple(closers)


def aws_settings(config: AwsConfig | None) -> AwsSettings:
    """How AWS is reached: as configured, or where nothing is, with the SDK's own chain of credentials."""
    from core.providers.aws_kms import AwsSettings

    if config is None:
        return AwsSettings(frozenset())
    return AwsSettings(
        regions=config.regions,
        accounts=config.accounts,
        principal=config.principal,
        endpoint_url=config.endpoint_url,
        access_key_id=config.access_key_id,
        secret_access_key=config.secret_access_key,
    )


def azure_settings(config: AzureConfig) -> AzureSettings:
    """How Azure is reached."""
    from core.providers.azure_key_vault import AzureSettings

    return AzureSettings(
        client_id=config.client_id,
        home_tenant=config.home_tenant,
        cloud=config.cloud,
        redirect_url=config.redirect_url,
        egress=config.egress,
        dial=config.dial,
        ca_file=config.ca_file,
        managed_identity=config.managed_identity,
        certificate_file=config.certificate_file,
        client_secret=config.client_secret,
    )
