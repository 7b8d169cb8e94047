"""What in a text tells it apart from another of nearly the same words: names, numbers, negations."""

from __future__ import annotations

import re

from agentmem.text import STOP_WORDS, words

_WORD = re.compile(r"[^\W_]+")
_TELLING_TEXT = """
    not no never none nobody nothing nowhere neither nor without cannot hardly
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half quarter double twice
    once first second third fourth fifth last
"""
_TELLING = frozenset(_TELLING_TEXT.split())


class Wording:
    """A text's words: all, those with content, names (any capitalised word) and numbers, and those in which a
    difference matters: names, numbers, negations."""

    def __init__(self, text: str) -> None:
        self.words = frozenset(words(text))
        self.counted = self.words - STOP_WORDS
        capitalised = {word for found in _WORD.findall(text) if found != found.lower() for word in words(found)}
        self.names = frozenset(word for word in capitalised - STOP_WORDS if not word[0].isdigit())
        self.numbers = frozenset(word for word in self.words if word[0].isdigit())
        self.telling = self.names | self.numbers | (self.words & _TELLING)

    def differs(self, other: Wording) -> bool:
        """Whether the words that the two do not share include a telling one."""
        return bool((self.words ^ other.words) & (self.telling | other.telling))

    def share_in(self, other: Wording) -> float:
        """The share of its words that another text holds too; 0 where they differ in a telling one."""
        if self.differs(other):
            return 0.0
        return len(self.counted & other.counted) / (len(self.counted) or 1)
