"""What the numbers were measured on: kind of machine, interpreter, libraries. Nothing that names a machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

LIBRARIES = ("cryptography", "aws-encryption-sdk", "aws-cryptographic-material-providers", "moto", "boto3")


def describe() -> dict[str, str]:
    """Facts by name."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": backend.openssl_version_text(),
        **{name: version(name) for name in LIBRARIES},
    }


def load() -> float | None:
    """How many programs wanted to run, on average over the last minute; None where nobody counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"
    except (AttributeError, OSError, ValueError):
        return "unknown"
