"""Tests that kill and stop real processes."""
