"""Leaves that reach key management systems, signers, event sinks and the clock."""
