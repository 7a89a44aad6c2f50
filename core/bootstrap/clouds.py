"""Connectors to the clouds in which tenants hold their KEKs."""

from __future__ import annotations

from collections.abc import Callable

from core.bootstrap.parts import Config
from core.domain.kek import ProviderName
from core.ports import Clock, KeyConnector
from core.service.kms_budget import KmsBudget


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
        from core.providers.aws_kms import AwsKms, AwsSettings

        aws = AwsKms(
            AwsSettings(
                regions=config.aws.regions,
                accounts=config.aws.accounts,
                principal=config.aws.principal,
                endpoint_url=config.aws.endpoint_url,
                access_key_id=config.aws.access_key_id,
                secret_access_key=config.aws.secret_access_key,
            ),
            clock,
            remaining=budget.remaining,
        )
        connectors["aws_kms"] = aws
        closers.append(aws.close)
    if config.azure is not None:
        from core.providers.azure_key_vault import AzureKeyVault, AzureSettings

        azure = AzureKeyVault(
            AzureSettings(
                client_id=config.azure.client_id,
                home_tenant=config.azure.home_tenant,
                cloud=config.azure.cloud,
                redirect_url=config.azure.redirect_url,
                egress=config.azure.egress,
                dial=config.azure.dial,
                ca_file=config.azure.ca_file,
                managed_identity=config.azure.managed_identity,
                certificate_file=config.azure.certificate_file,
                client_secret=config.azure.client_secret,
            ),
            clock,
            remaining=budget.remaining,
        )
        connectors["azure_key_vault"] = azure
        closers.append(azure.close)
    return connectors, tuple(closers)
