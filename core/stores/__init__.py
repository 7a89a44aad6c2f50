"""Leaves that keep branch key rows, tenant documents and audit chains."""
