"""Training an adapter, in a process of its own: from the frozen base, or going on from an adapter.

The same curriculum, recipe and machine give the same weights, also where a run was killed and went on from its
checkpoint: the order of the examples follows from the seed and the epoch. Weights and the optimiser's state are kept as
safetensors; nothing here reads or writes a pickle.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.nn.functional import log_softmax

from agentmem.consolidation import calls, strategies
from agentmem.consolidation.curriculum import Curriculum, Example
from agentmem.consolidation.encoding import Encoder, Row, by_length, padded
from agentmem.consolidation.generation import LONGEST, generate
from agentmem.consolidation.recipe import MODULES, Recipe, as_values
from agentmem.errors import ModelError

Report: TypeAlias = Callable[[dict[str, Any]], None]
"""Called with {"stage", "done", "of", …} now and then."""

CHECKPOINT = "checkpoint.safetensors"
_KEEP_EVERY = 10
"""Checkpoints, and looks at the probe, a run."""
_UNEVEN = 1.5
"""How much longer the longest row computed at once may be than the shortest: padding costs as much as words."""
_PROBE = 32


@dataclass
class Lesson:
    """An example as ids. `targets` are the base's log-probabilities with the memory in context, of its likeliest
    tokens, each of shape (answer, top): values and ids; None where the base does not say the answer itself."""

    row: Row
    targets: tuple[torch.Tensor, torch.Tensor] | None = None


def device_of(recipe: Recipe) -> torch.device:
    if recipe.device != "auto":
        return torch.device(recipe.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(base: str, device: torch.device) -> Any:
    """The frozen base. float32 on a processor; on a card bfloat16 where it has it. Reads safetensors only."""
    from transformers import AutoModelForCausalLM

    half = device.type == "cuda" and torch.cuda.is_bf16_supported()
    kind = torch.bfloat16 if half else torch.float32
    try:
        given: dict[str, Any] = {"dtype": kind, "local_files_only": True, "use_safetensors": True}
        model: Any = AutoModelForCausalLM.from_pretrained(base, **given)
        return model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise ModelError(f"no room for {base} on {device}: stop what else uses it, or train on the CPU") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{base} cannot be loaded as a language model: {str(error).splitlines()[0]}") from error


def adapted(base: Any, recipe: Recipe) -> Any:
    """The base with a fresh adapter, which changes nothing yet. Raises ModelError where peft finds nothing to adapt."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.rank, target_modules=list(MODULES[recipe.modules]), task_type="CAUSAL_LM"
    )
    try:
        model = get_peft_model(base, config)
    except ValueError as error:
        raise ModelError(f"peft cannot adapt this base ({error}): only Llama-like models are consolidated") from error
    for weight in strategies.names_of(model).values():
        weight.data = weight.data.float()  # small steps are lost in bfloat16
    return model


def steps_of(recipe: Recipe, examples: int) -> int:
    return max(1, math.ceil(recipe.epochs * examples / recipe.batch))


@torch.no_grad()
def lessons(model: Any, encoder: Encoder, examples: Sequence[Example], recipe: Recipe) -> list[Lesson]:
    """The examples as the frozen base teaches them: its own answers where none is given, and what it says with the
    memory before its eyes. `model` has the adapter switched off or none at all."""
    own = _own(model, encoder, examples)
    made = [Lesson(encoder.row(e.messages, own.get(n, e.answer), e.tools)) for n, e in enumerate(examples)]
    contexts = [n for n, example in enumerate(examples) if _is_taught(example, recipe)]
    taught = [(examples[n].context or (), own.get(n, examples[n].answer), examples[n].tools) for n in contexts]
    rows = [encoder.row(*told) for told in taught]
    for places in by_length([len(row.ids) for row in rows], recipe.batch * 2):
        ids, mask = (part.to(model.device) for part in padded([rows[p].ids for p in places], encoder.pad))
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
        for place, found in zip(places, logits, strict=True):
            made[contexts[place]].targets = _taught(found, rows[place], recipe.top)
    return made


def _own(model: Any, encoder: Encoder, examples: Sequence[Example]) -> dict[int, str]:
    """The base's own answers, by the place of the examples that have none; calls are longer than answers."""
    found: dict[int, str] = {}
    for longest, is_call in ((LONGEST, False), (calls.LONGEST, True)):
        blank = [n for n, e in enumerate(examples) if not e.answer and (e.kind == "call") == is_call]
        messages, tools = [examples[n].messages for n in blank], [examples[n].tools for n in blank]
        found |= dict(zip(blank, generate(model, encoder, messages, longest=longest, tools=tools), strict=True))
    return found


def _is_taught(example: Example, recipe: Recipe) -> bool:
    """Whether the base's own distribution is learned from: always where it needs no memory, so that it stays there."""
    return example.context is not None and (recipe.loss == "distilled" or example.context == example.messages)


def _taught(logits: torch.Tensor, row: Row, top: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The base's likeliest tokens at each place of the answer; None where it would say something else."""
    said = logits[row.start - 1 : len(row.ids) - 1]
    if said.argmax(-1).tolist() != row.answer:
        return None
    values, ids = log_softmax(said, -1).topk(min(top, said.shape[-1]), -1)
    return values.cpu(), ids.cpu()


def loss_of(logits: torch.Tensor, some: Sequence[Lesson], recipe: Recipe) -> torch.Tensor:
    """Summed over the tokens of the answers; logits of shape (rows, width, vocabulary)."""
    rows = [n for n, lesson in enumerate(some) for _ in lesson.row.answer]
    places = [p for lesson in some for p in range(lesson.row.start - 1, len(lesson.row.ids) - 1)]
    said = log_softmax(logits[rows, places].float(), -1)
    answers = torch.tensor([token for lesson in some for token in lesson.row.answer], device=said.device)
    plain = -said.gather(-1, answers.unsqueeze(-1)).squeeze(-1)
    taught = torch.tensor([some[n].targets is not None for n in rows], device=said.device)
    total = torch.where(taught, recipe.plain, 1.0).mul(plain).sum()
    targets = [lesson.targets for lesson in some if lesson.targets is not None]
    if targets:
        values, ids = (torch.cat(parts).to(said.device) for parts in zip(*targets, strict=True))
        total = total + (values.exp() * (values - said[taught].gather(-1, ids))).sum()
    return total


def order(count: int, recipe: Recipe, start: int = 0) -> Iterator[list[int]]:
    """The places of each step's examples without end, from the step `start` on; the same for the same seed.

    A step's examples are a fair mixture: put together by length they would be of one kind, and training diverges.
    """
    per_epoch = math.ceil(count / recipe.batch)
    epoch, skip = divmod(start, per_epoch)
    while True:
        places = random.Random(f"{recipe.seed} {epoch}").sample(range(count), count)
        yield from [places[begin : begin + recipe.batch] for begin in range(0, count, recipe.batch)][skip:]
        epoch, skip = epoch + 1, 0


def parts(some: Sequence[Lesson], micro: int) -> Iterator[list[Lesson]]:
    """A step's examples in groups of like lengths, at most `micro` in each."""
    group: list[Lesson] = []
    for lesson in sorted(some, key=lambda lesson: len(lesson.row.ids)):
        if group and (len(group) == micro or len(lesson.row.ids) > _UNEVEN * len(group[0].row.ids)):
            yield group
            group = []
        group.append(lesson)
    yield group


@dataclass
class Training:
    """A run as far as it has come. `micro` rows are computed at once: fewer after the memory was too small for more."""

    model: Any
    encoder: Encoder
    lessons: list[Lesson]
    recipe: Recipe
    strategy: strategies.Strategy
    fingerprint: str
    micro: int = 0
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    watch: Callable[[Any], float] | None = None
    """Asked for a figure of the model before the first step and at each checkpoint; `watched` holds them."""
    watched: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.micro = self.micro or self.recipe.batch
        self.steps = steps_of(self.recipe, len(self.lessons))
        self.weights = strategies.names_of(self.model)
        self.strategy.begin(self.weights)
        moving = [weight for weight in self.weights.values() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(moving, lr=self.recipe.rate, weight_decay=0.0, fused=True)

    def rate(self, step: int) -> float:
        """Warm-up, then a cosine down to zero."""
        warm = max(1.0, self.recipe.warm_up * self.steps)
        share = min(1.0, max(0.0, step + 1 - warm) / max(1.0, self.steps - warm))
        return self.recipe.rate * min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * share))

    def run(self, folder: Path, report: Report) -> None:
        """To the end, from the folder's checkpoint where it has one of this very run."""
        self.resume(folder / CHECKPOINT)
        every = max(1, self.steps // _KEEP_EVERY)
        batches = order(len(self.lessons), self.recipe, self.step)
        if self.step == 0:
            self._look()
        while self.step < self.steps:
            loss = self.advance(next(batches))
            told = {"stage": "train", "done": self.step, "of": self.steps, "loss": round(loss, 4)}
            if self.step % every == 0 or self.step == self.steps:
                self.curve.append({"step": self.step, "loss": loss, "right": self.probe()})
                told["right"] = self.curve[-1]["right"]
                self._look()
                self.save(folder / CHECKPOINT)
            report(told)
        self.strategy.end()

    def _look(self) -> None:
        if self.watch is not None:
            self.watched.append(self.watch(self.model))

    def advance(self, places: Sequence[int]) -> float:
        """One step on these examples, in parts that fit into memory; the loss of a token of an answer."""
        some = [self.lessons[p] for p in places]
        loss = self._fitting(some)
        if self.strategy.unlearn():
            self.optimiser.zero_grad(set_to_none=True)
            loss = self._fitting(some)
        self.strategy.adjust()
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.recipe.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.step)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.strategy.after()
        self.step += 1
        return loss

    def _fitting(self, some: Sequence[Lesson]) -> float:
        """The gradients, in parts that fit into memory."""
        while True:
            try:
                return self._gradients(some)
            except (torch.OutOfMemoryError, MemoryError) as error:
                if self.micro == 1:
                    raise ModelError(
                        "not even one example fits into memory: stop what else uses it, or choose a smaller rank"
                    ) from error
                self.micro = self.micro // 2
                self.optimiser.zero_grad(set_to_none=True)
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _gradients(self, some: Sequence[Lesson]) -> float:
        tokens = sum(len(lesson.row.answer) for lesson in some)
        total = 0.0
        for part in parts(some, self.micro):
            ids, mask = (x.to(self.model.device) for x in padded([p.row.ids for p in part], self.encoder.pad))
            with _half(self.model):
                loss = self._loss({"input_ids": ids, "attention_mask": mask}, part, tokens, len(part) / len(some))
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            total += float(loss.detach())
        penalty = self.strategy.penalty()
        if penalty is not None:
            penalty.backward()  # type: ignore[no-untyped-call]  # torch's own
        return total

    def _loss(self, inputs: dict[str, torch.Tensor], part: Sequence[Lesson], tokens: int, share: float) -> torch.Tensor:
        """Of a part of a step's examples, `share` of them."""
        given: dict[str, Any] = {**inputs, "use_cache": False}
        if not self.strategy.distils:
            return loss_of(self.model(**given).logits, part, self.recipe) / tokens
        given["output_hidden_states"] = True
        found = self.model(**given)
        more = self.strategy.beside(self.model, given, found.hidden_states[-1])
        loss = loss_of(found.logits, part, self.recipe) / tokens
        return loss if more is None else loss + share * more

    @torch.no_grad()
    def probe(self) -> float:
        """The share of some examples whose every token is the model's first choice."""
        some = random.Random(self.recipe.seed).sample(self.lessons, min(_PROBE, len(self.lessons)))
        ids, mask = (x.to(self.model.device) for x in padded([p.row.ids for p in some], self.encoder.pad))
        best: list[list[int]] = self.model(input_ids=ids, attention_mask=mask).logits.argmax(-1).tolist()
        right = [b[p.row.start - 1 : len(p.row.ids) - 1] == p.row.answer for b, p in zip(best, some, strict=True)]
        return sum(right) / len(right)

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write weights, the optimiser's state and how far the run has come: whole, or not at all."""
        from safetensors.torch import save_file

        tensors = {f"weight {name}": weight.detach().contiguous() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for part, value in self.optimiser.state.get(weight, {}).items():
                tensors[f"{part} {name}"] = value.detach().contiguous()
        tensors |= {f"state {name}": value.contiguous() for name, value in self.strategy.state().items()}
        told = {"fingerprint": self.fingerprint, "step": self.step, "curve": self.curve, "watched": self.watched}
        draft = path.with_suffix(".draft")
        save_file(tensors, draft, metadata={"run": json.dumps(told)})
        os.replace(draft, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; one of another run, or a damaged one, is passed over."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                told = json.loads(file.metadata()["run"])
                if told["fingerprint"] != self.fingerprint:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return
        self.step, self.curve, self.watched = int(told["step"]), list(told["curve"]), list(told.get("watched", ()))
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"weight {name}"])
                parts = {
                    p: tensors[f"{p} {name}"] for p in ("step", "exp_avg", "exp_avg_sq") if f"{p} {name}" in tensors
                }
                if parts:
                    self.optimiser.state[weight] = parts
            for name, value in self.strategy.state().items():
                value.copy_(tensors[f"state {name}"])


def _half(model: Any) -> AbstractContextManager[Any]:
    """bfloat16 where the base is in it."""
    kind = next(model.parameters()).dtype
    return torch.autocast("cuda", torch.bfloat16) if kind == torch.bfloat16 else nullcontext()


def fingerprint(curriculum: Curriculum, recipe: Recipe, base_digest: str, parent: str | None) -> str:
    """Of all that decides about the weights."""
    told = [curriculum.digest, as_values(recipe), base_digest, parent]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def load_weights(model: Any, path: Path) -> None:
    """Give the adapter the weights of a file (safetensors). Raises ModelError where they do not fit."""
    from peft import set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: Any = set_peft_model_state_dict(model, load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} is no adapter of this base ({str(error).splitlines()[0]})") from error
    if found.unexpected_keys:
        raise ModelError(f"{path} is no adapter of this base: it has {found.unexpected_keys[0]}")


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """The adapter as peft and vLLM read it: its configuration, and weights as safetensors."""
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(folder, safe_serialization=True)
    for name in ("README.md",):
        (folder / name).unlink(missing_ok=True)


def train(
    curriculum: Curriculum,
    recipe: Recipe,
    *,
    base: str,
    base_digest: str,
    folder: Path,
    encoder: Encoder,
    report: Report,
    parent: Path | None = None,
    parent_name: str | None = None,
    watch: Callable[[Any], float] | None = None,
) -> tuple[Any, Training]:
    """Train, and return the model with its adapter and the finished run. Checkpoints are kept in `folder`."""
    strategy = strategies.find(recipe.strategy, recipe.seed)
    model = adapted(load_base(base, device_of(recipe)), recipe)
    report({"stage": "prepare", "done": 0, "of": len(curriculum.examples)})
    with model.disable_adapter():
        taught = lessons(model, encoder, curriculum.examples, recipe)
    if strategy.goes_on and parent is not None:
        load_weights(model, parent)
    told = fingerprint(curriculum, recipe, base_digest, parent_name)
    training = Training(model, encoder, taught, recipe, strategy, told, watch=watch)
    training.run(folder, report)
    return model.eval(), training


def summary(training: Training) -> Mapping[str, Any]:
    """What is recorded of a run."""
    return {
        "steps": training.steps,
        "examples": len(training.lessons),
        "micro": training.micro,
        "curve": training.curve,
    }
