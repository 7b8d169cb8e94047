"""What the widgets tell the screen: one typed message per thing a person can do there."""

from __future__ import annotations

from textual.message import Message

from agentmem.learning import Learnt
from agentmem.types import RecallItem


class PromptSubmitted(Message):
    """The user sent what stood in the prompt."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class AnswerSelected(Message):
    """An answer was chosen, whose recalled items are now to be shown."""

    def __init__(
        self, turn_id: str | None, items: tuple[RecallItem, ...] | None, question_id: str | None = None
    ) -> None:
        super().__init__()
        self.turn_id = turn_id
        self.question_id = question_id
        self.items = items
        """None where they must be read from the store."""


class EarlierWanted(Message):
    """Turns older than those on screen are wanted."""


class ItemOpened(Message):
    """What stood around a remembered item is wanted."""

    def __init__(self, item: RecallItem) -> None:
        super().__init__()
        self.item = item


class ChoiceChanged(Message):
    """For the next answer these are to be recalled first, and those not at all."""

    def __init__(self, pinned: tuple[RecallItem, ...], left_out: frozenset[str]) -> None:
        super().__init__()
        self.pinned = pinned
        self.left_out = left_out


class UndoWanted(Message):
    """Something learnt from these turns is to be taken back."""

    def __init__(self, learnt: Learnt, turn_ids: list[str]) -> None:
        super().__init__()
        self.learnt = learnt
        self.turn_ids = turn_ids


class ForgetWanted(Message):
    """A turn or thought is to be forgotten."""

    def __init__(self, record_id: str) -> None:
        super().__init__()
        self.record_id = record_id


class SessionDeletion(Message):
    """A whole session is to be forgotten."""

    def __init__(self, session: str, title: str) -> None:
        super().__init__()
        self.session = session
        self.title = title


class SessionRenaming(Message):
    """A session is to get another title; `title` is the one that the user gave it, "" where it has none."""

    def __init__(self, session: str, title: str) -> None:
        super().__init__()
        self.session = session
        self.title = title


class SessionChosen(Message):
    """The conversation is to go on in another session; None starts a new one."""

    def __init__(self, session: str | None) -> None:
        super().__init__()
        self.session = session
