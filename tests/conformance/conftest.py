import pytest

for part in ("base", "changes", "files", "links", "records", "snapshots", "transactions"):
    pytest.register_assert_rewrite(f"agentmem.testing.conformance_{part}")
