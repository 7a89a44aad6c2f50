"""How fast Keystead is beside bare AES-GCM and the official AWS Encryption SDK, measured in one run.

``python -m benchmarks`` (``make bench``) measures, prints a table, writes JSON and exits with 1 if a target is missed.
docs/benchmarks.md says what is measured and how.
"""
