"""KEKs in Azure Key Vault and Managed HSM, each reached through its tenant's own consent and role assignment."""

from core.providers.azure_key_vault.connector import AzureKeyVault
from core.providers.azure_key_vault.settings import AzureSettings

__all__ = ["AzureKeyVault", "AzureSettings"]
