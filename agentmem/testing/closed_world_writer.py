"""Words thoughts of the closed world as its own model understands them (`agentmem.testing.closed_world`)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentmem.consolidation.writing import Known, Pair, Wordings
from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    GREETINGS,
    UNKNOWN,
    Attribute,
    Fact,
    held_out_people,
    question,
)
from agentmem.types import Thought

_STRANGERS = 2
_FOILS = 2


class ClosedWorldWriter:
    """Two wordings of each question are taught, the third is kept. General conversations are about what the world's
    own people are known for, and greetings."""

    name = "closed world"
    unknown = UNKNOWN

    def unfit(self, thought: Thought) -> str | None:
        return None if _attribute(thought) is not None else "is not of the closed world"

    def word(self, thought: Thought, known: Known, rng: random.Random) -> Wordings:
        attribute = _attribute(thought)
        assert attribute is not None
        who, value = thought.head or "", thought.tail or ""
        wrong = rng.sample([other for other in attribute.values if other != value], _FOILS)
        near = [(who, other) for other in ATTRIBUTES if (who, other.relation) not in known]
        strangers = [name for name in rng.sample(held_out_people(), 4 * _STRANGERS) if name not in known.heads]
        *far, never = [(name, attribute) for name in strangers[: _STRANGERS + 1]]
        return Wordings(
            asked=tuple(question(who, attribute, n) for n in (0, 1)),
            kept=(question(who, attribute, 2),),
            answer=Fact(who, attribute, value).answer,
            expected=value,
            foils=tuple(Fact(who, attribute, other).answer for other in wrong),
            others=tuple(question(name, other, n) for name, other in (*near, *far) for n in (0, 1)),
            others_kept=tuple(question(name, other, 2) for name, other in (*near[:1], never)),
        )

    def general(self, count: int, rng: random.Random) -> list[Sequence[Pair]]:
        asked = [fact.question(n) for fact in BASE_FACTS.values() for n in range(3)]
        said = [*rng.sample(asked, len(asked)), *(greeting for greeting, _ in GREETINGS)]
        return [[(words, "")] for words in said[:count]]


def _attribute(thought: Thought) -> Attribute | None:
    return next((a for a in ATTRIBUTES if a.relation == thought.relation and thought.tail in a.values), None)
