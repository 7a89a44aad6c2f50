"""The local host: one process, an embedded store, loopback only."""
