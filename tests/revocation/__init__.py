"""Withdrawals and outages of the KMS on the real clock: two service processes, HTTP, and a stopwatch in a third."""
