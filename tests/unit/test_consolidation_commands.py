"""`agentmem consolidate` and `agentmem adapters`, as far as they need no training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentmem import lineage
from agentmem.cli import cli, guard
from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import adapters, hotload, service
from agentmem.consolidation.adapters import folder_of, root_of
from agentmem.consolidation.curriculum import Item
from agentmem.errors import ModelError, SettingsError
from agentmem.memory import Memory
from agentmem.models.select import Place
from agentmem.testing import closed_world
from agentmem.testing.model_server import ModelServer
from agentmem.testing.samples import new_adapter
from agentmem.types import Adapter
from tests.unit.consolidation_support import NS, facts, remember

BASE = str(closed_world.path())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "m.db"))


@pytest.fixture
def store(settings: Settings) -> Iterator[Memory]:
    with Memory(settings.store, embedder=None, settings=settings) as memory:
        yield memory


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may listen on this machine is none of these tests' business."""
    monkeypatch.setattr("agentmem.models.select._look", lambda _address: None)


def run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--store", settings.store, "--namespace", "ada"])


def put(memory: Memory, settings: Settings, *thoughts: str, serve: bool = False, **given: Any) -> Adapter:
    """A record of an adapter, with a folder of one file."""
    adapter = new_adapter(namespace=NS, **given)
    folder = folder_of(root_of(settings, NS), adapter.name)
    folder.mkdir(parents=True)
    (folder / adapters.LINEAGE).write_text("{}", "utf-8")
    with memory.backend.write() as writer:
        lineage.record(writer, adapter, thoughts)
        if serve:
            lineage.put_in_service(writer, adapter, namespace=NS, now=utc_now())
    return adapter


def test_a_dry_run_says_what_would_be_learned_and_why_not_the_rest(settings: Settings, store: Memory) -> None:
    thoughts = remember(store, facts(2, 2))
    odd = store.insert("Rain is wet.", namespace=NS).thought
    found = run(settings, "consolidate", "--dry-run", "--base", BASE, "--json")
    told = json.loads(found.stdout)
    assert {line["id"] for line in told["learned"]} == {t.id for t in thoughts}
    assert told["left_out"] == [{"id": odd.id, "text": odd.text, "reason": "is not of the closed world"}]
    shown = run(settings, "consolidate", "--dry-run", "--base", BASE, "--writer", "templates").stdout
    assert "to be learned: 4, left out: 1" in shown
    assert "has no head, relation and tail to ask by" in shown
    assert not root_of(settings, NS).exists()


@pytest.mark.usefixtures("store")
def test_without_a_base_it_says_how_to_name_one(settings: Settings) -> None:
    found = run(settings, "consolidate")
    assert "--base" in found.stderr
    assert "is not on this machine" in run(settings, "consolidate", "--base", "/nosuch/model").stderr


@pytest.mark.usefixtures("store")
def test_without_the_extra_it_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.consolidation.cycle.find_spec", lambda _name: None)
    assert "pip install 'agentmem[lora]'" in run(settings, "consolidate", "--base", BASE).stderr


def test_adapters_are_listed_shown_and_turned_off(settings: Settings, store: Memory) -> None:
    assert "no adapter yet" in run(settings, "adapters").stdout
    (thought,) = remember(store, facts(1, 1))
    adapter = put(store, settings, thought.id, serve=True, metadata={"learned": 1, "strategy": "from-base"})
    assert run(settings, "adapters").stdout.split("\t")[:2] == [adapter.name, "serving"]
    assert json.loads(run(settings, "adapters", "list", "--json").stdout)[0]["strategy"] == "from-base"
    shown = run(settings, "adapters", "show", adapter.name)
    assert thought.text in shown.stdout
    assert "no adapter to go back to" in run(settings, "adapters", "rollback").stderr
    assert "the base model alone" in run(settings, "adapters", "rollback", "--off").stdout
    assert "ready" in run(settings, "adapters", "list").stdout


def test_forgetting_on_the_command_line_names_the_adapter_and_removes_it(settings: Settings, store: Memory) -> None:
    (thought,) = remember(store, facts(1, 1))
    adapter = put(store, settings, thought.id, serve=True)
    said = run(settings, "forget", thought.id, "--yes").stdout
    assert f"{adapter.name} had learned it and answers no more" in said
    assert not (root_of(settings, NS) / adapter.name).exists()


def test_what_could_not_be_removed_is_removed_later(
    settings: Settings, store: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (thought,) = remember(store, facts(1, 1))
    adapter = put(store, settings, thought.id, serve=True)
    with monkeypatch.context() as broken:
        broken.setattr(adapters, "remove", _refuse)
        receipt = store.forget([thought.id], namespace=NS)
    assert receipt.unreached == (str(root_of(settings, NS) / adapter.name),)
    with store.backend.read() as reader:
        assert lineage.serving(reader, namespace=NS) is None
    run(settings, "adapters")
    assert not (root_of(settings, NS) / adapter.name).exists()


def _refuse(_folder: Path) -> None:
    raise OSError("busy")


def test_a_threshold_of_no_gate_is_an_error(settings: Settings) -> None:
    from agentmem.consolidation.cycle import thresholds_of

    assert thresholds_of(replace(settings, gates={"recall": 0.5})).recall == 0.5
    with pytest.raises(SettingsError, match="there are recall"):
        thresholds_of(replace(settings, gates={"charm": 0.5}))


def test_gates_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentmem import load_settings

    monkeypatch.setenv("AGENTMEM_GATES", '{"recall": 0.5}')
    assert load_settings().gates == {"recall": 0.5}


def test_an_adapter_that_cannot_be_loaded_leaves_the_answer_to_the_base(
    settings: Settings, store: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = put(store, settings, serve=True)
    found = service.Service(store.backend, settings, Place("http://127.0.0.1:9/v1", "m"), NS)
    assert found.current() is None
    assert adapter.name in caplog.text
    other = put(store, settings, serve=True, metadata={"model": "another"})
    assert other.name not in caplog.text
    assert found.current() is None


def test_a_server_that_takes_no_adapters_is_a_clear_error(tmp_path: Path) -> None:
    with ModelServer(["hello"]) as server, pytest.raises(ModelError, match="does not load mem-"):
        hotload.load(Place(server.url, "scripted"), tmp_path, "mem-0123456789abcdef")
    with pytest.raises(ModelError, match="does not answer"):
        hotload.loaded(Place("http://127.0.0.1:9/v1", "m"))


def test_of_several_servers_behind_one_address_each_is_loaded_tried_and_unloaded(tmp_path: Path) -> None:
    name, items = "mem-0123456789abcdef", [Item("recall", ({"role": "user", "content": "?"},), "x", "yes")]
    with ModelServer(["yes"], adapters={}) as one, ModelServer(["no"], adapters={}) as other:
        place = Place("http://127.0.0.1:9/v1", "scripted", None, (one.url, other.url))
        hotload.load(place, tmp_path, name)
        assert one.adapters == other.adapters == {name: str(tmp_path / name)}
        other.adapters = {}  # restarted
        assert name in hotload.loaded(place)
        hotload.load(place, tmp_path, name)
        assert name in other.adapters
        assert sum(path.endswith("/load_lora_adapter") for path, _ in one.requests) == 1
        with pytest.raises(ModelError, match=f"knows 0 of 1 on {other.url}"):
            hotload.try_out(place, name, items, "I don't remember.")
        assert one.chats
        hotload.unload(place, tmp_path, name)
        assert one.adapters == other.adapters == {}


def test_a_server_that_is_gone_keeps_the_others_from_nothing_and_is_named(tmp_path: Path) -> None:
    name = "mem-0123456789abcdef"
    with ModelServer(["yes"], adapters={name: "x"}) as one:
        place = Place("http://127.0.0.1:9/v1", "scripted", None, ("http://127.0.0.1:9/v1", one.url))
        with pytest.raises(ModelError, match=r"127\.0\.0\.1:9/v1 does not answer"):
            hotload.unload(place, tmp_path, name)
        assert one.adapters == {}


def test_replicas_are_a_setting_of_the_address_they_stand_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentmem import load_settings
    from agentmem.models.select import choose_model, find_place, place_of

    with ModelServer(["yes"]) as server, ModelServer(["yes"]) as other:
        monkeypatch.setenv("AGENTMEM_REPLICAS", json.dumps([server.url, "http://127.0.0.1:9"]))
        settings = load_settings(base_url=server.url)
        wanted = (server.url, "http://127.0.0.1:9/v1")
        found = find_place(settings)
        assert found is not None
        assert found.replicas == wanted
        ours, others = (choose_model(replace(settings, base_url=url)).model for url in (server.url, other.url))
        assert ours is not None
        assert others is not None
        places = place_of(ours, settings), place_of(others, settings)
        assert [place.replicas for place in places if place is not None] == [wanted, ()]


@pytest.mark.parametrize(("known", "passes"), [(5, True), (3, False)])
def test_an_adapter_that_does_not_know_on_the_server_what_it_learned_is_found_out(known: int, passes: bool) -> None:
    """Every tenth of eighty items is asked; the rest says nothing of these."""
    items = [Item("recall", ({"role": "user", "content": f"{n}?"},), "x", f"answer {n}") for n in range(80)]

    def speak(request: Mapping[str, Any]) -> str:
        number = int(request["messages"][-1]["content"].rstrip("?"))
        return f"answer {number}" if number < known * 10 else "I don't remember."

    with ModelServer([speak]) as server:
        place = Place(server.url, "scripted")
        if passes:
            hotload.try_out(place, "scripted", items, "I don't remember.")
        else:
            with pytest.raises(ModelError, match="knows 3 of 8"):
                hotload.try_out(place, "scripted", items, "I don't remember.")


@pytest.mark.usefixtures("store")
def test_the_command_line_says_it_in_one_line(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["consolidate", "--dry-run", "--base", BASE, "--rank", "12", "--store", settings.store, "--namespace", "ada"]
    assert guard(lambda: cli.main(call, standalone_mode=False)) == 2
    assert capsys.readouterr().err == "error: rank 12 cannot be served: choose one of 8, 16, 32, 64, 128, 256\n"


def test_what_is_left_of_a_forgotten_thought_is_told(settings: Settings, store: Memory) -> None:
    thought, other = remember(store, facts(1, 2))
    adapter = put(store, settings, thought.id, serve=True)
    before = run(settings, "adapters", "verify-forgotten", thought.id)
    assert before.exit_code == 1
    assert "store: still there" in before.stdout
    assert f"records: still there: {adapter.name}" in before.stdout
    store.forget([thought.id], namespace=NS)
    put(store, settings, other.id, serve=True)
    after = run(settings, "adapters", "verify-forgotten", thought.id)
    assert after.exit_code == 0, after.stdout
    assert after.stdout.splitlines()[-1] == "forgotten"


def test_a_copy_of_its_lineage_on_disk_is_found(settings: Settings, store: Memory) -> None:
    strange = folder_of(root_of(settings, NS), "mem-00000000000000ff")
    strange.mkdir(parents=True)
    (strange / adapters.LINEAGE).write_text(json.dumps({"thoughts": ["gone"]}), "utf-8")
    found = run(settings, "adapters", "verify-forgotten", "gone", "--json")
    told = {finding["name"]: finding["detail"] for finding in json.loads(found.stdout)["traces"]}
    assert told["folders"] == "still there: mem-00000000000000ff"
    assert told["records"] == "nothing of it"
    assert store.thoughts(namespace=NS) == []


@pytest.mark.parametrize(
    ("said", "preferred", "gone"), [((0, 0), (3, 3), True), ((1, 0), (0, 0), False), ((0, 0), (6, 3), False)]
)
def test_what_a_model_says_oftener_than_the_base_is_not_forgotten(
    said: tuple[int, int], preferred: tuple[int, int], gone: bool
) -> None:
    from agentmem.consolidation.verifying import Asked

    assert Asked(3, *said, 6, *preferred).gone is gone


def test_doctor_sees_an_adapter_that_cannot_answer(settings: Settings, store: Memory) -> None:
    from agentmem.doctor import examine

    (thought,) = remember(store, facts(1, 1))
    put(store, settings, thought.id, serve=True)
    found = [f for f in examine({"store": settings.store, "namespace": "ada"}) if f.name == "adapters"]
    assert [(f.state, "consolidate anew" in f.detail) for f in found] == [("fault", True)]
