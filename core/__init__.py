"""Keystead's cloud-neutral core. Layers and rules: docs/design.md."""
