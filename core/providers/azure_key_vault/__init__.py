"""KEKs in Azure Key Vault and Managed HSM, each reached through its tenant's own consent and role assignment."""
