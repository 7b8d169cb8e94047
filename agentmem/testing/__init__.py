"""For authors of plug-ins: conformance suites for the interfaces, and sample records to feed them.

For whoever tests an agent: a scripted chat model (`fake_model`), a scripted server (`model_server`), and a proxy before
a real server that keeps what was sent and breaks answers (`proxy`).

    from agentmem.testing.conformance import BackendConformance

    class TestMyBackend(BackendConformance):
        def make_backend(self, tmp_path):
            return MyBackend(tmp_path / "store")

For readable failures, `pytest.register_assert_rewrite("agentmem.testing")` in conftest.py before that import.
"""
