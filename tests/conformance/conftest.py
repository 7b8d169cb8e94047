import pytest

for part in ("base", "changes", "files", "links", "records", "transactions"):
    pytest.register_assert_rewrite(f"agentmem.testing.conformance_{part}")
