"""Keeps the SDKs' own loggers from telling what they are given: at DEBUG some write whole bodies, keys among them."""

from __future__ import annotations

import logging


def quiet(*names: str) -> None:
    """Let loggers write nothing below INFO, or less than they do now, whatever their parents are set to later.

    Args:
        names: Of the loggers. Their children follow unless somebody has set a level of their own.
    """
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.INFO, logger.getEffectiveLevel()))
