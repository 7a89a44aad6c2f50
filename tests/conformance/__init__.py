"""What every leaf of a port must do: one suite per Protocol, subclassed in the leaf's own test module."""

import pytest

# The suites are not test modules by name; without this their assertions would fail without saying why.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{suite}"
        for suite in ("audit_log", "clock", "events", "key_provider", "key_store", "signer", "tenant_store")
    )
)
