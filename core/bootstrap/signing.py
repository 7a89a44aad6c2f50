"""What signs statements: a key in a KMS of the operator's, or a key file of the data directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.bootstrap.clouds import aws_settings, azure_settings
from core.bootstrap.parts import Config
from core.errors import InvalidRequest, StoreUnavailable
from core.ports import Clock, Signer
from core.service.kms_budget import KmsBudget

_ARN = "arn:"


def build_signer(
    config: Config, directory: Path, clock: Clock, budget: KmsBudget
) -> tuple[Signer, tuple[Callable[[], None], ...]]:
    """The signer that a deployment is configured for, and what lets go of it.

    Keys that signed before stay in the key set: those that the configuration lists, and, where the key now lies in a
    KMS, those of the key file that was there before.

    Args:
        config: Of the deployment.
        directory: Where the key file is, if there is one.
        clock: Reads the clocks.
        budget: Counts the KMS time of a request.

    Raises:
        InvalidRequest: The signing key is not named as one in a KMS that is configured, or a retired key is none.
        Silence, StoreUnavailable, StoreCorrupt: The key file cannot be used.
    """
    # Leaves are imported here so that a deployment loads only its own.
    from core.providers.local_signer import FILE, LocalSigner

    retired = config.retired_signing_keys
    if not config.signing_key:
        return LocalSigner(directory, retired=retired), ()
    try:
        # Tools that look at a data directory know it by this one, too.
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        has_file = (directory / FILE).exists()
    except OSError as error:
        raise StoreUnavailable(f"the directory of signing keys cannot be used: {error.strerror}") from None
    if has_file:
        retired = (*retired, *LocalSigner(directory, read_only=True).jwks()["keys"])
    if config.signing_key.startswith(_ARN):
        from core.providers.aws_kms.signer import AwsSigner

        aws = AwsSigner(
            config.signing_key, aws_settings(config.aws), clock, retired=retired, remaining=budget.remaining
        )
        return aws, (aws.close,)
    if config.azure is None:
        raise InvalidRequest("the signing key lies in Azure Key Vault, and no application is configured to reach it")
    from core.providers.azure_key_vault.signer import AzureSigner

    azure = AzureSigner(
        config.signing_key, azure_settings(config.azure), clock, retired=retired, remaining=budget.remaining
    )
    return azure, (azure.close,)
