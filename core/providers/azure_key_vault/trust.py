"""Whose certificates are trusted: the usual authorities, those that the environment names, or an emulator's own."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path


def trusting(verify: object) -> ssl.SSLContext:
    """What checks certificates against the authorities in a file or folder; True stands for the usual ones."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    if verify is not True and not isinstance(verify, str):
        raise ValueError("certificates are always checked")
    place = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    return _context(place, Path(place).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _context(place: str, _changed: int) -> ssl.SSLContext:
    # Shared by all, as reading the authorities takes 50 ms. It keeps nothing of a connection.
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.check_hostname = True
    if Path(place).is_dir():
        context.load_verify_locations(capath=place)
    else:
        context.load_verify_locations(cafile=place)
    return context
