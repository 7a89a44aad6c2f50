"""KEKs in AWS KMS, each reached through its tenant's own access: key policy or role."""

from core.providers.aws_kms.connector import AwsKms
from core.providers.aws_kms.settings import AwsSettings

__all__ = ["AwsKms", "AwsSettings"]
