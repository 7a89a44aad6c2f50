"""How fast a withdrawn key stops serving, how fast a reinstated one serves again, and that an outage is neither.

``python -m benchmarks.revocation`` (``make bench-revocation``) runs real service processes over HTTP against emulated
clouds, prints a table, writes JSON and exits with 1 if a target is missed. docs/benchmarks.md says what is measured and
how. The modules here are the harness of ``tests/revocation``, too, which runs the same with shorter settings.
"""
