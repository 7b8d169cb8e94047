"""Plug-ins: the one door, and what happens to those that don't fit through it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentmem import plugins
from agentmem.config import load_settings
from agentmem.errors import PluginError

Install = Callable[..., None]

GOOD = """
    from agentmem.backends import open_backend
    from agentmem.interfaces import Abilities
    from agentmem.plugins import hookimpl

    @hookimpl
    def register_backends(register):
        register("shelf", lambda url, *, create, settings, clock: open_backend("memory:"),
                 abilities=Abilities(False, True, False, False), api_version=1)
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    plugins._loaded.cache_clear()
    yield
    plugins._loaded.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution of one module, as pip would lay it down."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, code: str, group: str = "agentmem", attribute: str = "") -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code))
        info = tmp_path / f"{name}-0.3.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}{attribute}\n")

    return write


def info(name: str) -> plugins.PluginInfo:
    return next(found for found in plugins.installed_plugins() if found.name == name)


def test_the_builtin_backends_come_through_the_door() -> None:
    found = info("agentmem")
    assert found.backends["sqlite"].durable
    assert found.backends["sqlite"].secure_erase
    assert not found.backends["memory"].durable


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("x.db", "sqlite"),
        ("/a/b c.db", "sqlite"),
        ("sqlite:///x.db", "sqlite"),
        (r"C:\x.db", "sqlite"),
        ("memory:", "memory"),
        ("postgresql://h/d", "postgresql"),
    ],
)
def test_a_path_is_sqlite(url: str, scheme: str) -> None:
    assert plugins.scheme_of(url) == scheme


def test_stores_open_by_path_and_by_url(tmp_path: Path) -> None:
    for url in (str(tmp_path / "a.db"), f"sqlite:///{tmp_path / 'a.db'}", "memory:"):
        plugins.open_store(url, load_settings()).close()


def test_an_installed_backend_opens(install: Install) -> None:
    install("shelfmem", GOOD)
    found = info("shelfmem")
    assert (found.version, found.error, list(found.backends)) == ("0.3", None, ["shelf"])
    backend = plugins.open_store("shelf://x", load_settings())
    assert backend.abilities.secure_erase
    backend.close()


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"no backend for 'nosuch'.*memory, sqlite"):
        plugins.open_store("nosuch://x", load_settings())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise SystemError('broken\\nin two lines')", "SystemError: broken"),
        (GOOD.replace("api_version=1", "api_version=0"), "update the plug-in"),
        (GOOD.replace("api_version=1", "api_version=99"), "update agentmem"),
        (GOOD.replace('"shelf"', '"sqlite"'), "taken"),
        (GOOD.replace("register_backends", "register_backend"), "register_backend"),
    ],
)
def test_a_failing_plugin_says_why_and_takes_no_other_with_it(install: Install, code: str, reason: str) -> None:
    install("amiss", code)
    install("shelfmem", GOOD)
    error = info("amiss").error
    assert error is not None
    assert reason in error
    assert "\n" not in error
    assert info("shelfmem").error is None
    with pytest.raises(PluginError, match="amiss failed to load"):
        plugins.open_store("nosuch://x", load_settings())


def test_user_interfaces_are_found_by_name(install: Install) -> None:
    install("lamp", "def run(*a, **k): return 'lit'", "agentmem.ui", ":run")
    assert plugins.find_ui("lamp")() == "lit"
    assert info("lamp").group == "agentmem.ui"
    with pytest.raises(PluginError, match="--plain"):
        plugins.find_ui("torch")


def test_a_broken_user_interface_points_to_the_plain_one(install: Install) -> None:
    install("fog", "import nothing_of_this_name", "agentmem.ui", ":run")
    with pytest.raises(PluginError, match="--plain"):
        plugins.find_ui("fog")
