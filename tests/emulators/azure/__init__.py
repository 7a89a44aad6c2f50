"""Tests of the Azure emulator; most of them through Azure's own SDK, as it is."""
