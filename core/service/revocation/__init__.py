"""Revocation and restoration: what denial and silence of a tenant's KEK lead to (DESIGN 5)."""
