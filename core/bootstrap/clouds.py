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
    if config.aws is None:
        return {}, ()
    # Imported here so that a deployment loads only its own.
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
    return {"aws_kms": aws}, (aws.close,)
