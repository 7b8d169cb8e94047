"""Training: what moves, what does not, and that a run goes on where it was stopped. On the closed world's own model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from agentmem.consolidation import strategies, training
from agentmem.consolidation.curriculum import Curriculum
from agentmem.consolidation.encoding import Encoder, load_encoder, padded
from agentmem.consolidation.generation import generate
from agentmem.consolidation.recipe import CLOSED_WORLD, Recipe, as_values, recipe_of
from agentmem.errors import InputError, ModelError
from agentmem.testing import closed_world
from tests.unit.consolidation_support import curriculum_of

BASE = str(closed_world.path())
SMALL = replace(CLOSED_WORLD, rank=8, batch=8, epochs=1.0, rate=5e-3, loss="distilled")
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(BASE)


@pytest.fixture(scope="module")
def made() -> Curriculum:
    """A curriculum of two people's facts, cut to 48 examples."""
    whole = curriculum_of(2, 5)
    return replace(whole, examples=whole.examples[::3][:48])


class Stopped(Exception):
    pass


def run(
    made: Curriculum, encoder: Encoder, folder: Path, recipe: Recipe = SMALL, *, stop: int | None = None, **how: Any
) -> tuple[Any, training.Training]:
    def report(told: dict[str, Any]) -> None:
        if told["stage"] == "train" and told["done"] == stop:
            raise Stopped

    folder.mkdir(exist_ok=True)
    given = {"base": BASE, "base_digest": "b", "folder": folder, "encoder": encoder, "report": report, **how}
    return training.train(made, recipe, **given)


def weights_of(model: Any) -> Weights:
    return {name: weight.detach().clone() for name, weight in strategies.names_of(model).items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained(made: Curriculum, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(made, encoder, tmp_path_factory.mktemp("trained"))


def test_only_the_adapter_moves(trained: Any) -> None:
    model, done = trained
    frozen = training.load_base(BASE, torch.device("cpu")).state_dict()
    inside = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weight
        for name, weight in model.state_dict().items()
        if "lora_" not in name
    }
    assert all(torch.equal(inside[name], weight) for name, weight in frozen.items())
    assert all(weight.abs().sum() > 0 for name, weight in done.weights.items() if "lora_B" in name)
    assert done.step == done.steps == 6


def test_the_loss_falls(trained: Any, encoder: Encoder) -> None:
    model, done = trained
    with torch.no_grad():
        some = done.lessons[:16]
        ids, mask = padded([lesson.row.ids for lesson in some], encoder.pad)
        after = training.loss_of(model(input_ids=ids, attention_mask=mask).logits, some, SMALL)
        with model.disable_adapter():
            before = training.loss_of(model(input_ids=ids, attention_mask=mask).logits, some, SMALL)
    assert float(after) < 0.9 * float(before)


def test_a_stopped_run_goes_on_to_the_very_same_weights(
    trained: Any, made: Curriculum, encoder: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        run(made, encoder, tmp_path, stop=2)
    assert {path.name for path in tmp_path.iterdir()} == {training.CHECKPOINT}
    model, done = run(made, encoder, tmp_path)
    assert same(weights_of(model), weights_of(trained[0]))
    assert [point["step"] for point in done.curve] == [1, 2, 3, 4, 5, 6]


def test_another_runs_checkpoint_and_a_damaged_one_are_passed_over(
    trained: Any, made: Curriculum, encoder: Encoder, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        run(made, encoder, tmp_path, replace(SMALL, seed=5), stop=1)
    other, _ = run(made, encoder, tmp_path)
    assert same(weights_of(other), weights_of(trained[0]))
    (tmp_path / training.CHECKPOINT).write_bytes(b"\x80\x04 no safetensors")
    again, _ = run(made, encoder, tmp_path)
    assert same(weights_of(again), weights_of(trained[0]))


def test_too_little_memory_means_smaller_parts_and_the_same_step(trained: Any) -> None:
    model, done = trained
    lessons = done.lessons[:8]

    class Small(torch.nn.Module):
        """Has room for two rows."""

        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, input_ids: torch.Tensor, **given: Any) -> Any:
            if len(input_ids) > 2:
                raise torch.OutOfMemoryError("no room")
            return self.inner(input_ids=input_ids, **given)

    whole, pieces = (
        training.Training(kind, done.encoder, lessons, SMALL, strategies.Strategy(), "f") for kind in (model, Small())
    )
    gradients = []
    for one in (whole, pieces):
        one.optimiser.step = lambda *_: None  # type: ignore[method-assign]  # the gradients are what is looked at
        one.optimiser.zero_grad = lambda *_, **__: None  # type: ignore[method-assign]
        for weight in one.weights.values():
            weight.grad = None
        one.advance(range(8))
        found = {name.removeprefix("inner."): w.grad for name, w in one.weights.items()}
        gradients.append({name: grad.clone() for name, grad in found.items() if grad is not None})
    assert (whole.micro, pieces.micro) == (8, 2)
    assert gradients[0].keys() == gradients[1].keys() == set(whole.weights)
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-5) for n in gradients[0])
    for weight in whole.weights.values():
        weight.grad = None


def test_no_room_for_even_one_example_is_a_clear_error(trained: Any) -> None:
    model, done = trained

    class None_(torch.nn.Module):
        device = torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, **_given: Any) -> Any:
            raise torch.OutOfMemoryError("no room")

    failing = training.Training(None_(), done.encoder, done.lessons[:8], SMALL, strategies.Strategy(), "f")
    with pytest.raises(ModelError, match="not even one example"):
        failing.advance(range(8))


def test_the_base_teaches_what_it_says_with_the_memory_and_nothing_where_it_is_wrong(
    made: Curriculum, encoder: Encoder
) -> None:
    base = training.load_base(BASE, torch.device("cpu"))
    asked = [e for e in made.examples if e.kind in ("direct", "unknown")]
    wrong = replace(asked[0], answer="Nobody lives there.")
    taught = training.lessons(base, encoder, [*asked, wrong], SMALL)
    assert sum(lesson.targets is not None for lesson in taught) > len(taught) / 2
    assert taught[-1].targets is None
    values, ids = next(lesson.targets for lesson in taught if lesson.targets is not None)
    assert values.shape == ids.shape == (values.shape[0], SMALL.top)
    assert torch.all(values.exp().sum(-1) <= 1.0001)
    plain = training.lessons(base, encoder, asked, replace(SMALL, loss="plain"))
    assert all(lesson.targets is None for e, lesson in zip(asked, plain, strict=True) if e.kind == "direct")
    assert any(lesson.targets is not None for e, lesson in zip(asked, plain, strict=True) if e.kind == "unknown")


def test_its_own_answers_stand_for_empty_ones(made: Curriculum, encoder: Encoder) -> None:
    base = training.load_base(BASE, torch.device("cpu"))
    general = [e for e in made.examples if e.kind == "general"][:3]
    own = generate(base, encoder, [e.messages for e in general])
    rows = [lesson.row for lesson in training.lessons(base, encoder, general, SMALL)]
    assert [encoder.words(row.answer) for row in rows] == own
    assert all(own)


def test_steps_see_every_example_once_an_epoch_in_an_order_of_the_seed() -> None:
    recipe = replace(SMALL, batch=4)
    first = training.order(10, recipe)
    epoch = [next(first) for _ in range(3)]
    assert sorted(place for batch in epoch for place in batch) == list(range(10))
    later = training.order(10, recipe, start=2)
    assert next(later) == epoch[2]
    assert [next(later) for _ in range(3)] != epoch
    assert next(training.order(10, replace(recipe, seed=9))) != epoch[0]


def test_the_rate_warms_up_and_falls_to_nothing(trained: Any) -> None:
    _, done = trained
    long = training.Training(done.model, done.encoder, done.lessons * 20, SMALL, strategies.Strategy(), "f")
    rates = [long.rate(step) for step in range(long.steps)]
    assert max(rates) == pytest.approx(SMALL.rate, rel=0.02)
    assert rates[0] < rates[2]
    assert rates[-1] < 0.01 * SMALL.rate


# -- strategies: each does what tells it from the others ----------------------------------------------------------


@pytest.fixture(scope="module")
def parent(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parent") / "adapter"
    training.save_adapter(trained[0], folder, BASE)
    return folder / "adapter_model.safetensors"


def go_on(strategy: str, made: Curriculum, encoder: Encoder, parent: Path, folder: Path) -> tuple[Weights, Any]:
    recipe = replace(SMALL, strategy=strategy, seed=2)
    model, done = run(made, encoder, folder, recipe, parent=parent, parent_name="mem-1")
    return weights_of(model), done


def moved(new: Weights, old: Weights) -> float:
    return float(sum(((new[name] - old[name]) ** 2).sum() for name in old) ** 0.5)


@pytest.fixture(scope="module")
def plainly(
    made: Curriculum, encoder: Encoder, parent: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Weights, Any]:
    return go_on("sequential", made, encoder, parent, tmp_path_factory.mktemp("sequential"))


def test_only_safetensors_are_written(parent: Path) -> None:
    assert {path.name for path in parent.parent.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_from_the_base_knows_nothing_of_the_adapter_before(trained: Any, made: Curriculum, encoder: Encoder,
                                                           parent: Path, tmp_path: Path) -> None:  # fmt: skip
    model, _ = run(made, encoder, tmp_path, parent=parent)
    assert same(weights_of(model), weights_of(trained[0]))


def test_sequential_begins_where_the_adapter_before_ended(trained: Any, plainly: tuple[Weights, Any]) -> None:
    old, fresh = weights_of(trained[0]), plainly[0]
    assert 0 < moved(fresh, old) < moved(old, {n: torch.zeros_like(w) for n, w in old.items()})


def test_l2_holds_the_weights_nearer_to_the_old(
    trained: Any, made: Curriculum, encoder: Encoder, parent: Path, plainly: tuple[Weights, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(strategies.Anchored, "strength", 10.0)
    held, done = go_on("l2", made, encoder, parent, tmp_path)
    old = weights_of(trained[0])
    assert moved(held, old) < 0.9 * moved(plainly[0], old)
    penalty = done.strategy.penalty()
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(10.0 * moved(held, old) ** 2, rel=1e-3)


def test_hft_freezes_half_of_the_modules(
    trained: Any, made: Curriculum, encoder: Encoder, parent: Path, tmp_path: Path
) -> None:
    new, _ = go_on("hft", made, encoder, parent, tmp_path)
    old = weights_of(trained[0])
    still = {name for name in old if torch.equal(new[name], old[name])}
    modules = {name.split(".lora_")[0] for name in old}
    assert {name.split(".lora_")[0] for name in still} & {n.split(".lora_")[0] for n in old.keys() - still} == set()
    assert len(still) == len(modules) // 2 * 2


def test_migu_moves_the_largest_rows_only(
    trained: Any, made: Curriculum, encoder: Encoder, parent: Path, tmp_path: Path
) -> None:
    new, _ = go_on("migu", made, encoder, parent, tmp_path)
    old = weights_of(trained[0])
    for name in (name for name in old if "lora_B" in name):
        norms = old[name].norm(dim=1)
        changed = (new[name] - old[name]).abs().sum(dim=1) > 0
        assert changed.float().mean() == pytest.approx(0.5, abs=0.1)
        assert norms[changed].min() >= norms[~changed].max()


def test_a_run_of_two_memories_goes_on_to_the_same_slow_one(
    made: Curriculum, encoder: Encoder, parent: Path, tmp_path: Path, plainly: tuple[Weights, Any]
) -> None:
    """The slow weights are what is left, and they are kept in the checkpoint."""
    slow, done = go_on("i-lora", made, encoder, parent, tmp_path / "whole")
    assert all(torch.equal(slow[name], value) for name, value in done.strategy.state().items())
    assert not same(slow, plainly[0])
    recipe = replace(SMALL, strategy="i-lora", seed=2)
    with pytest.raises(Stopped):
        run(made, encoder, tmp_path / "parts", recipe, stop=3, parent=parent, parent_name="mem-1")
    again, _ = go_on("i-lora", made, encoder, parent, tmp_path / "parts")
    assert same(again, slow)


def test_o_lora_leaves_what_was_learned_where_it_is(made: Curriculum, encoder: Encoder, tmp_path: Path) -> None:
    """Two cycles of a quarter of the rank each."""
    first, _ = run(made, encoder, tmp_path / "first", replace(SMALL, strategy="o-lora"))
    old = weights_of(first)
    training.save_adapter(first, tmp_path / "adapter", BASE)
    new, done = go_on("o-lora", made, encoder, tmp_path / "adapter" / "adapter_model.safetensors", tmp_path / "second")
    for name in (name for name in old if "lora_B" in name):
        rows = name.replace("lora_B", "lora_A")
        assert old[name][:, 2:].count_nonzero() == 0, "two of eight a cycle"
        assert torch.equal(new[name][:, :2], old[name][:, :2])
        assert torch.equal(new[rows][:2], old[rows][:2])
        assert new[name][:, 2:4].count_nonzero() > 0
        assert new[name][:, 4:].count_nonzero() == 0
    held = done.strategy.penalty()
    done.strategy.begin({name: torch.nn.Parameter(weight) for name, weight in old.items()})
    assert held.detach() < done.strategy.penalty().detach(), "nearer to orthogonal than it began"


def test_an_unknown_strategy_or_an_impossible_recipe_is_an_error() -> None:
    with pytest.raises(InputError, match="from-base"):
        strategies.find("magic")
    for given in ({"rank": 12}, {"modules": "some"}, {"rate": 0.0}):
        with pytest.raises(InputError):
            Recipe(**given)
    assert recipe_of(as_values(SMALL)) == SMALL


def test_what_is_no_base_or_no_adapter_is_a_clear_error(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        training.load_base(str(tmp_path), torch.device("cpu"))
    with pytest.raises(ModelError, match="no adapter of this base"):
        training.load_weights(trained[0], tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="peft cannot adapt"):
        training.adapted(_without_projections(), SMALL)


def _without_projections() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    made: Any = GPT2LMHeadModel
    return made(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16, n_positions=16))
