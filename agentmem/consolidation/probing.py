"""What a model with an adapter says to a curriculum's items, and what the base said: the facts that gates judge."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import log_softmax

from agentmem.consolidation import calls
from agentmem.consolidation.curriculum import Aspect, Curriculum, Item
from agentmem.consolidation.encoding import Encoder, Row, by_length, padded
from agentmem.consolidation.generation import LONGEST, generate
from agentmem.consolidation.marking import Probe, says, well_formed

_MOST = 400
"""Items of an aspect that are asked: enough for a bound of one or two points."""
_AT_ONCE = 64
_MARGIN = 8
_PAIRED = ("abstention", "context", "older", "retrieval")
"""What the base is asked as well."""


def sample(items: Sequence[Item], seed: int) -> list[Item]:
    """At most `_MOST` of each aspect."""
    grouped: dict[Aspect, list[Item]] = defaultdict(list)
    for item in items:
        grouped[item.aspect].append(item)
    rng = random.Random(seed)
    return [item for some in grouped.values() for item in rng.sample(some, min(_MOST, len(some)))]


def probe(model: Any, encoder: Encoder, curriculum: Curriculum, *, before: str | None = None) -> list[Probe]:
    """All items, asked of a peft model with its adapter and without; `before` names a second adapter in it, asked for
    what was learned before."""
    items = sample(curriculum.items, curriculum.seed)
    apart = {name: [item for item in items if item.aspect == name] for name in ("recognition", "general", "calls")}
    found = _answers(model, encoder, [i for i in items if i.aspect not in apart], curriculum.unknown, before)
    found += recognised(model, encoder, apart["recognition"])
    found += _unrelated(model, encoder, apart["general"], curriculum.unknown)
    found += _called(model, encoder, apart["calls"], curriculum.unknown)
    return found


def _answers(model: Any, encoder: Encoder, items: Sequence[Item], unknown: str, before: str | None) -> list[Probe]:
    if not items:
        return []
    longest = min(LONGEST, _MARGIN + max(len(encoder.row(item.messages, item.answer).answer) for item in items))
    said = generate(model, encoder, [item.messages for item in items], longest=longest)
    compared = [n for n, item in enumerate(items) if item.aspect in _PAIRED]
    with model.disable_adapter():
        base = generate(model, encoder, [items[n].messages for n in compared], longest=longest)
    was = dict(zip(compared, base, strict=True))
    older = [n for n, item in enumerate(items) if item.aspect == "older"]
    if before is not None and older:
        model.set_adapter(before)
        was |= dict(
            zip(older, generate(model, encoder, [items[n].messages for n in older], longest=longest), strict=True)
        )
        model.set_adapter("default")
    return [
        Probe(item.aspect, says(answer, item, unknown), n in was and says(was[n], item, unknown), thought=item.thought)
        for n, (item, answer) in enumerate(zip(items, said, strict=True))
    ]


def recognised(model: Any, encoder: Encoder, items: Sequence[Item]) -> list[Probe]:
    """Whether the thought is likelier than the foil."""
    true = likelihoods(model, encoder, [encoder.row(item.messages, item.answer) for item in items])
    false = likelihoods(model, encoder, [encoder.row(item.messages, item.foil or "") for item in items])
    return [
        Probe("recognition", bool(t > f), False, thought=item.thought)
        for item, t, f in zip(items, true, false, strict=True)
    ]


@torch.no_grad()
def likelihoods(model: Any, encoder: Encoder, rows: Sequence[Row]) -> list[float]:
    """The mean log-probability of a token of each answer."""
    found = [0.0] * len(rows)
    for places in by_length([len(row.ids) for row in rows], _AT_ONCE):
        ids, mask = (x.to(model.device) for x in padded([rows[p].ids for p in places], encoder.pad))
        logits = log_softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1)
        for place, said in zip(places, logits, strict=True):
            row = rows[place]
            answer = torch.tensor(row.answer, device=said.device).unsqueeze(-1)
            found[place] = float(said[row.start - 1 : len(row.ids) - 1].gather(-1, answer).mean())
    return found


def _called(model: Any, encoder: Encoder, items: Sequence[Item], unknown: str) -> list[Probe]:
    """Memory calls and tool calls, of adapter and base: whether they can be read, and whether they are right."""
    messages, tools = [item.messages for item in items], [item.tools for item in items]
    now = generate(model, encoder, messages, longest=calls.LONGEST, tools=tools)
    with model.disable_adapter():
        base = generate(model, encoder, messages, longest=calls.LONGEST, tools=tools)
    asked = list(zip(items, now, base, strict=True))
    form = [Probe("form", well_formed(new, item), well_formed(old, item)) for item, new, old in asked]
    return form + [Probe("calls", says(new, item, unknown), says(old, item, unknown)) for item, new, old in asked]


@torch.no_grad()
def _unrelated(model: Any, encoder: Encoder, items: Sequence[Item], unknown: str) -> list[Probe]:
    """Prompts that have nothing to do with any thought: how far the adapter is from the base's own answers, and whether
    it is right where the base is; where nobody can tell what is right, what the base says counts as that."""
    messages = [item.messages for item in items]
    with model.disable_adapter():
        own = generate(model, encoder, messages)
    said = generate(model, encoder, messages)
    rows = [encoder.row(asked, answer) for asked, answer in zip(messages, own, strict=True)]
    found: list[Probe] = []
    for places in by_length([len(row.ids) for row in rows], _AT_ONCE):
        ids, mask = (x.to(model.device) for x in padded([rows[p].ids for p in places], encoder.pad))
        with model.disable_adapter():
            base = log_softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1)
        now = log_softmax(model(input_ids=ids, attention_mask=mask).logits.float(), -1)
        for place, old, new in zip(places, base, now, strict=True):
            part = slice(rows[place].start - 1, len(rows[place].ids) - 1)
            kl = float((old[part].exp() * (old[part] - new[part])).sum(-1).mean())
            item = items[place]
            right, before = (says(text, item, unknown) for text in (said[place], own[place]))
            if not item.expected:
                right, before = bool((old[part].argmax(-1) == new[part].argmax(-1)).all()), True
            found.append(Probe("general", right, before, kl=kl))
    return found
