"""Settings: what wins over what, and one line for each that cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentmem import config
from agentmem.errors import AgentmemError, SettingsError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setattr(config, "config_path", lambda: path)
    for name in config.NAMES:
        monkeypatch.delenv(f"AGENTMEM_{name.upper()}", raising=False)
    return path


def test_defaults_need_no_file(file: Path) -> None:
    settings = config.load_settings()
    assert not file.exists()
    assert settings == config.Settings()
    assert settings.store.endswith("memory.db")
    assert settings.namespace


def test_arguments_win_over_variables_and_these_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('store = "f.db"\nmodel = "f"\nbase_url = "f"\nrecall_items = 3\n')
    monkeypatch.setenv("AGENTMEM_MODEL", "e")
    monkeypatch.setenv("AGENTMEM_BASE_URL", "e")
    settings = config.load_settings(base_url="a", namespace=None)
    assert (settings.store, settings.model, settings.base_url, settings.recall_items) == ("f.db", "e", "a", 3)
    sources = config.setting_sources(base_url="a", namespace=None)
    assert [sources[n] for n in ("store", "model", "base_url", "namespace")] == [
        "file",
        "environment",
        "argument",
        "default",
    ]


def test_an_empty_variable_is_unset(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('model = "f"\n')
    monkeypatch.setenv("AGENTMEM_MODEL", "")
    assert config.load_settings().model == "f"


@pytest.mark.parametrize("written", ['"a/b"', '["a", "b"]'])
def test_a_namespace_in_the_file_is_a_string_or_a_list(file: Path, written: str) -> None:
    file.write_text(f"namespace = {written}\n")
    assert config.load_settings().namespace == ("a", "b")


def test_a_namespace_is_read_alike_from_everywhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load_settings(namespace=r"a\/b/c").namespace == ("a/b", "c")
    monkeypatch.setenv("AGENTMEM_NAMESPACE", r"a\/b/c")
    assert config.load_settings().namespace == ("a/b", "c")
    assert not file.exists()


def test_urls_keep_their_slashes_and_paths_lose_the_tilde(file: Path) -> None:
    assert config.load_settings(store="postgresql://h/d").store == "postgresql://h/d"
    assert config.load_settings(store="~/m.db").store == str(Path.home() / "m.db")
    assert not file.exists()


def test_the_key_is_never_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_API_KEY", "sesame")
    settings = config.load_settings()
    assert "sesame" not in repr(settings)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "sesame"
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("recall_items = 0", "recall_items"),
        ('recall_items = "many"', "recall_items"),
        ('namespace = ""', "namespace"),
        ("namespace = 3", "namespace"),
        ('store = ""', "store"),
        ("retention_days = -1", "retention_days"),
        ('modle = "x"', "modle"),
        ("model =", "TOML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_what_is_wrong(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        config.load_settings()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_names_where_the_value_came_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="as given"):
        config.load_settings(chunk_turns=1)
    monkeypatch.setenv("AGENTMEM_CHUNK_TURNS", "x")
    with pytest.raises(SettingsError, match="AGENTMEM_CHUNK_TURNS"):
        config.load_settings()
    assert not file.exists()


@pytest.mark.parametrize("given", [{"namespace": ""}, {"namespace": "a//b"}, {"store": " "}, {"colour": "red"}])
def test_wrong_arguments_are_refused_with_and_without_a_file(file: Path, given: dict[str, str]) -> None:
    with pytest.raises(AgentmemError):
        config.load_settings(**given)
    file.write_text("recall_items = 5\n")
    with pytest.raises(AgentmemError):
        config.load_settings(**given)


def test_unknown_variables_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_MODLE", "x")
    assert "AGENTMEM_MODLE" in config.unknown_variables()


def test_pydantic_stays_out_while_there_is_nothing_to_check(tmp_path: Path) -> None:
    code = (
        "import sys; from agentmem.config import load_settings;"
        "load_settings(store='x.db', namespace='a/b'); print('pydantic' in sys.modules)"
    )
    clean = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.strip() == "False"
