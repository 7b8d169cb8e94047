"""Trains the closed-world model from scratch on one CPU core.

    python -m agentmem.testing.closed_world.train FOLDER [--steps N] [--seed N] [--begin MODEL]

FOLDER gets the model and its tokenizer; a checkpoint in it lets the same command go on where it was stopped. A model to
begin with saves the first half of the steps: where lessons have changed, it has only these to learn. Matrices
are trained with Muon (Jordan et al. 2024), which reaches the ability to look things up in a fraction of Adam's steps;
embeddings and norms with AdamW. Where a C++ compiler is found the layers are compiled: three times as fast.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from agentmem.testing.closed_world import tokens
from agentmem.testing.closed_world.batches import Batch, batches
from agentmem.testing.closed_world.curriculum import lessons
from agentmem.testing.closed_world.evaluate import scores, table

CONTEXT = 1024
_CHECKPOINT = "checkpoint.pt"
_WORDS_SEEN = 4000
_PROMPTS_TEACH = 0.25
"""Of the progress."""
_MULTIPLE = 64
"""Embeddings have a multiple of so many rows, as servers pad them."""

_GROWS = 0.54
"""Of the progress."""
_SPREAD = 0.1
"""Standard deviation of the embeddings at the start: far more than a hundred steps can move them."""
_PLACE, _TOKEN = 40.0, 10.0
"""How sharply the first heads attend to one place, and the second ones to one token."""
_WEAK, _STRONG = 0.3, 3.0
"""How loudly a head says what it read."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes and rates. `tokens` a step, padding included; rates fall to zero over the last part of the steps.

    `layers` are there at first; half-way, where looking things up has formed, they become `grown`.
    """

    steps: int = 10_000
    seed: int = 0
    hidden: int = 192
    layers: int = 4
    grown: int = 6
    heads: int = 6
    inner: int = 512
    tokens: int = 4096
    matrix_rate: float = 0.012
    rate: float = 1e-3
    warm_up: int = 50
    falling: float = 1 / 3
    theta: float = 1e5


def new_tokenizer() -> Tokenizer:
    """The tokenizer of the closed world: its words are those that lessons use."""
    early, late = lessons(0, lambda: 0.0), lessons(0)
    seen = [tokens.render(lesson) for some in (early, late) for lesson in islice(some, _WORDS_SEEN)]
    return tokens.build(seen)


def new_model(recipe: Recipe, tokenizer: Tokenizer) -> Any:
    """An untrained model. A word begins with the same embedding at the start of a text as after a space."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=-(-tokenizer.get_vocab_size() // _MULTIPLE) * _MULTIPLE,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.inner,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.theta},
        bos_token_id=None,
        pad_token_id=tokens.number_of(tokenizer, tokens.PAD),
        eos_token_id=tokens.number_of(tokenizer, tokens.END),
    )
    model: Any = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    _tie_words(model, tokenizer)
    _look_back(model, recipe)
    _match(model, recipe)
    return model


@torch.no_grad()
def _tie_words(model: Any, tokenizer: Tokenizer) -> None:
    """The embeddings: random, but alike for a word with and without its space, and with one part common to all."""
    table = model.get_input_embeddings().weight
    table.normal_(0, _SPREAD)
    offset, known = torch.randn(table.shape[1]) * _SPREAD, tokenizer.get_vocab()
    for word, number in known.items():
        if len(word) > 2 and word.startswith("Ġ") and word[1:] in known:
            table[known[word[1:]]] = 0.9 * table[number] + 0.44 * offset
    table.sub_(table.mean(1, keepdim=True)).add_(_common(table.shape[1]))


def _common(hidden: int) -> torch.Tensor:
    """What all embeddings share: as long as the rest of one is. It changes no probability, being in every logit."""
    return torch.full((hidden,), _SPREAD)


@torch.no_grad()
def _look_back(model: Any, recipe: Recipe) -> None:
    """Each head of the first layer begins by attending to one place: the token before, the second before, and so on.

    Finding a value by what stands before it needs the words before each token in its state. Models with a short
    convolution have that from the start and learn to look things up at once (Arora et al. 2023, §4); here rotary
    positions give it: a query turned back by n places meets the key n places before. What such a head reads, a random
    projection of the token, it writes into a part of the state of its own. It is only a beginning: these matrices are
    trained like all others.
    """
    size = recipe.hidden // recipe.heads
    frequencies = recipe.theta ** (-torch.arange(size // 2) * 2 / size)
    quick = (torch.arange(size // 2) < size // 4).float()  # these tell neighbours apart
    length = recipe.hidden**0.5 / 2**0.5  # of the common part, once normalised
    toward = torch.ones(recipe.hidden) / recipe.hidden**0.5 / length * _PLACE**0.5
    attention = model.model.layers[0].self_attn
    for head in range(recipe.heads):
        turn, rows = frequencies * (head + 1), slice(head * size, (head + 1) * size)
        attention.q_proj.weight[rows] = torch.outer(torch.cat([turn.cos() * quick, -turn.sin() * quick]), toward)
        attention.k_proj.weight[rows] = torch.outer(torch.cat([quick, 0 * quick]), toward)


@torch.no_grad()
def _match(model: Any, recipe: Recipe) -> None:
    """The second layer begins with induction heads (Olsson et al. 2022): they attend to the places before which stood,
    so many tokens back, what stands here, and copy the token they find (initialisation by the trained form: Trockman
    and Kolter 2023). The pairs of dimensions that rotary positions hardly turn compare; theta leaves half of them so.
    Without this, 300 steps of pure looking up (a million tokens) had not begun to form them.
    """
    size = recipe.hidden // recipe.heads
    half, slow = size // 2, size // 4
    still = torch.cat([torch.arange(slow, half), torch.arange(half + slow, size)])
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    for head in range(recipe.heads):
        rows = slice(head * size, (head + 1) * size)
        basis = torch.linalg.qr(torch.randn(recipe.hidden, recipe.hidden))[0]
        basis -= basis.mean(1, keepdim=True)  # blind to what all embeddings share
        read, copied = basis[: len(still)], basis[len(still) : len(still) + size]
        own = torch.linalg.qr(torch.randn(recipe.hidden, len(still)))[0]
        first.v_proj.weight[rows] = _rows(size, torch.arange(len(still)), read)
        first.o_proj.weight[:, rows] = _rows(size, torch.arange(len(still)), own.T).T * _WEAK
        second.q_proj.weight[rows] = _rows(size, still, read) * _TOKEN**0.5
        second.k_proj.weight[rows] = _rows(size, still, own.T) * _TOKEN**0.5
        second.v_proj.weight[rows] = copied
        second.o_proj.weight[:, rows] = copied.T * (_WEAK if head else _STRONG)


@torch.no_grad()
def grown(model: Any, layers: int) -> Any:
    """The same model with more layers, spread among the old ones, that change nothing yet: what they write is zero.

    A shallow model learns the first steps of looking things up for less (Gong et al. 2019, progressive stacking).
    """
    config = type(model.config)(**{**model.config.to_dict(), "num_hidden_layers": layers})
    larger: Any = type(model)(config)
    old, more = len(model.model.layers), layers - len(model.model.layers)
    kept = iter(model.model.layers)
    for place, layer in enumerate(larger.model.layers):
        if (place + 1) * more // layers > place * more // layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        else:
            layer.load_state_dict(next(kept).state_dict())
    assert next(kept, None) is None, f"{old} layers were to be kept"
    larger.model.embed_tokens.load_state_dict(model.model.embed_tokens.state_dict())
    larger.model.norm.load_state_dict(model.model.norm.state_dict())
    return larger


def _rows(count: int, at: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """That many rows, zero but for those given."""
    made = torch.zeros(count, given.shape[1])
    made[at] = given
    return made


class Training:
    """A model in training, which can be saved and gone on with."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, begin: Any = None, device: str = "cpu") -> None:
        """`begin` is a grown model of the same tokenizer, which has learnt what the first half of the steps teaches;
        `device` is torch's name of what computes."""
        self.recipe, self.tokenizer, self.step, self._device = recipe, tokenizer, 0, torch.device(device)
        self._supply: Iterator[Batch] | None = None
        self._compiled = False
        if begin is not None:
            self.step = self._grows_at + 1
        self._train(new_model(recipe, tokenizer) if begin is None else begin)

    def _train(self, model: Any) -> None:
        """This model from now on, with optimizers that know nothing of it yet."""
        self.model, recipe = model.to(self._device), self.recipe
        if self._compiled:
            _compile_layers(model)
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.01),
            torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return self.step / self.recipe.steps

    def compile(self) -> None:
        """Compile the layers for the widths of batches, where a C++ compiler is found."""
        self._compiled = shutil.which("g++") is not None
        if self._compiled:
            _compile_layers(self.model)

    def _grow(self) -> None:
        self._train(grown(self.model, self.recipe.grown))

    def run(self, steps: int) -> float:
        """So many steps; the mean loss of the answers' tokens."""
        if self._supply is None:
            seed = self.recipe.seed * 1_000_003 + self.step
            taught = lessons(seed, lambda: self.progress)
            self._supply = batches(self.tokenizer, taught, self.recipe.tokens, self._prompt_weight)
        return sum(self._learn(made) for made in islice(self._supply, steps)) / steps

    def _learn(self, made: Batch) -> float:
        if self.step == self._grows_at:
            self._grow()
        self._set_rates()
        inputs, targets, weights = (part.to(self._device) for part in (made.inputs, made.targets, made.weights))
        taught = weights > 0
        with torch.autocast(self._device.type, torch.bfloat16):
            states = self.model.model(input_ids=inputs, use_cache=False).last_hidden_state
            logits = self.model.lm_head(states[taught])
        losses, weights = cross_entropy(logits.float(), targets[taught], reduction="none"), weights[taught]
        (losses @ weights / weights.sum()).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        said = (weights == 1).float()
        return float(losses.detach() @ said / said.sum())

    @property
    def _grows_at(self) -> int:
        return round(_GROWS * self.recipe.steps)

    def _prompt_weight(self) -> float:
        """Names that come again in prompts teach to look back. Later most of a prompt's tokens are chance: noise."""
        return 0.1 if self.progress < _PROMPTS_TEACH else 0.0

    def _set_rates(self) -> None:
        recipe = self.recipe
        share = min(1.0, (self.step + 1) / recipe.warm_up, max(0.01, (1 - self.progress) / recipe.falling))
        for optimizer, rate in zip(self._optimizers, (recipe.matrix_rate, recipe.rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def save(self, file: Path) -> None:
        """All that is needed to go on, in place of what was there."""
        state = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }
        torch.save(state, file.with_suffix(".new"))
        file.with_suffix(".new").replace(file)

    def load(self, file: Path) -> None:
        """Go on from there. Raises ValueError where it was made by another recipe."""
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location=self._device)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{file} is of another recipe ({state['recipe']}): remove it, or choose another folder")
        self.step = state["step"]
        if self.step > self._grows_at:
            self._grow()
        self.model.load_state_dict(state["model"])
        for optimizer, former in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(former)


def _compile_layers(model: Any) -> None:
    torch._dynamo.config.recompile_limit = 64
    for layer in model.model.layers:
        layer.compile(dynamic=False)


def _scores(training: Training, questions: int) -> dict[str, float]:
    with torch.compiler.set_stance("force_eager"):  # exams come in any width
        return scores(training.model, training.tokenizer, questions)


def train(
    folder: Path, recipe: Recipe, begin: Path | None = None, *, every: int = 100, exam: int = 1000, device: str = "cpu"
) -> dict[str, float]:
    """Train to the end, saving every so many steps, and write the model. Returns its scores."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    model = begin and LlamaForCausalLM.from_pretrained(begin, dtype=torch.float32)
    training = Training(recipe, new_tokenizer(), model, device)
    if (folder / _CHECKPOINT).exists():
        training.load(folder / _CHECKPOINT)
    training.compile()
    with Progress(*Progress.get_default_columns()[:3], TimeElapsedColumn(), TextColumn("{task.description}")) as bar:
        task = bar.add_task("", total=recipe.steps, completed=training.step)
        while training.step < recipe.steps:
            loss = training.run(min(every, recipe.steps - training.step))
            training.save(folder / _CHECKPOINT)
            bar.update(task, completed=training.step, description=f"loss {loss:.3f}")
            if training.step % exam == 0 and training.step < recipe.steps:
                bar.print(f"step {training.step}:", _scores(training, 100))
    write(training.model, training.tokenizer, folder)
    return _scores(training, 500)


def write(model: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """The model (bfloat16, safetensors) with its tokenizer and chat template, as transformers and vLLM read them.

    Where a request names no temperature, a server takes it from there: 0, for an answer is either right or not.
    """
    model.to(torch.bfloat16).save_pretrained(folder)
    given = folder / "generation_config.json"
    given.write_text(json.dumps({**json.loads(given.read_text("utf-8")), "temperature": 0.0}, indent=2) + "\n", "utf-8")
    tokens.write(tokenizer, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains the closed-world model.")
    parser.add_argument("folder", type=Path, help="gets the model; with a checkpoint of the same recipe, it goes on")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--begin", type=Path, help="a model to begin with, which has learnt the first half")
    chosen = parser.parse_args(arguments)
    print(table(train(chosen.folder, Recipe(steps=chosen.steps, seed=chosen.seed), chosen.begin)))


if __name__ == "__main__":
    main()
