"""What a model thinks before it answers (`<think>…</think>`) is no part of its answer: neither shown nor kept.

A server with a reasoning parser sends it apart, as `reasoning_content`, which is no text of the message. This is for
the others.
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<think>", "</think>"
_REASONED = re.compile(rf"\A\s*{OPEN}.*?(?:{CLOSE}|\Z)|\A.*?{CLOSE}", re.DOTALL)


class Reasoning:
    """Takes the reasoning off the head of a message as it comes; `seen` is whether there was any.

    Some templates put the opening mark into the prompt: `begun` says that the message begins inside. Where it turns out
    that nothing ends the reasoning then, the message was its answer. Reasoning that was opened and not ended was cut
    off, and there is no answer.
    """

    def __init__(self, begun: bool = False) -> None:
        self.seen = False
        self._held = ""
        self._inside = begun
        self._past = False
        self._blank = False

    def take(self, text: str) -> str:
        """The answer's part of what came."""
        if self._past:
            return self._begun(text)
        self._held += text
        head = self._held.lstrip()
        if head.startswith(OPEN):
            self._inside = self.seen = True
        elif not self._inside and not OPEN.startswith(head):
            return self._release(self._held)
        if self._inside and CLOSE in self._held:
            self.seen = self._blank = True
            return self._begun(self._release(self._held.partition(CLOSE)[2]))
        return ""

    def _release(self, text: str) -> str:
        self._past, self._held = True, ""
        return text

    def _begun(self, text: str) -> str:
        """The text without the blank lines between reasoning and answer."""
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        return text

    def end(self) -> str:
        """What was held back and is answer after all."""
        held, self._held = self._held, ""
        return "" if self.seen else held


def after_reasoning(text: str) -> str | None:
    """The answer in a text that began inside its reasoning; None where it did not."""
    before, mark, rest = text.partition(CLOSE)
    return rest.lstrip() if mark and OPEN not in before else None


def without_reasoning(text: str) -> str:
    """What a whole message says besides its reasoning, wherever that began; reasoning that was cut off is all of it."""
    return _REASONED.sub("", text)
