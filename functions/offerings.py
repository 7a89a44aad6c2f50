"""Reads which offering may use which cloud.

::

    {"default": ["aws_kms", "azure_key_vault"], "Healthcare Shield": ["azure_key_vault"]}

An offering that is not in it covers no cloud at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from core.domain.kek import ProviderName
from core.domain.offerings import Offerings
from core.errors import InvalidRequest
from functions.settings import SettingsError
from functions.strict_json import parse_json

MAX_OFFERING = 100
"""Characters of an offering's name."""
CLOUDS: tuple[ProviderName, ...] = tuple(name for name in get_args(ProviderName) if name != "local")


def read_offerings(text: str) -> Offerings:
    """Read the setting KEYSTEAD_OFFERINGS.

    Args:
        text: JSON, or the path of a file that holds it.

    Raises:
        SettingsError: It is not what the module's docstring shows.
    """
    try:
        document = parse_json((text if text.lstrip().startswith("{") else _read(text)).encode(), what="it")
    except InvalidRequest as error:
        raise _wrong(error.detail) from None
    if not isinstance(document, dict) or not document:
        raise _wrong("it is a JSON object of offerings")
    found: dict[str, frozenset[ProviderName]] = {}
    for name, clouds in document.items():
        if not 0 < len(name) <= MAX_OFFERING or not name.isprintable():
            raise _wrong(f"an offering's name has 1 to {MAX_OFFERING} printable characters")
        covered = frozenset(cloud for cloud in CLOUDS if isinstance(clouds, list) and cloud in clouds)
        if not isinstance(clouds, list) or len(covered) != len(clouds):
            raise _wrong(f"each offering has a list of {', '.join(CLOUDS)}")
        found[name] = covered
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise _wrong("the file it names cannot be read") from None


def _wrong(what: str) -> SettingsError:
    return SettingsError(f"KEYSTEAD_OFFERINGS: {what}", hint='it looks like {"default": ["aws_kms"]}')
