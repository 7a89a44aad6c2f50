"""Keystead and the official AWS Encryption SDK read each other, over in-process moto."""
