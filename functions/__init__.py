"""The hosts: HTTP in front of `core.service`, the same on every platform."""
