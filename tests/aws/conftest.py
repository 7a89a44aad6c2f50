"""The emulated AWS that the tests here share."""

from tests.aws.ministack import ministack

__all__ = ["ministack"]
