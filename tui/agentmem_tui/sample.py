"""A conversation to try things with while the memory is empty: invented, short, with something that changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agentmem.types import NewTurn, Role

SESSION = "a sample conversation"
QUESTION = "What is Elin allergic to?"
_BEGUN = datetime(2026, 1, 11, 18, 10, tzinfo=UTC)
_SAID: tuple[tuple[Role, str], ...] = (
    ("user", "My niece Elin is six. She is allergic to peanuts, badly, so never let me pack her peanut biscuits."),
    ("assistant", "Understood: no peanuts for Elin."),
    ("user", "My studio is above the bicycle shop in Quay Street. I throw pots for a living."),
    ("assistant", "A studio above a bicycle shop: noted."),
    ("user", "The kiln reached 1222 degrees today, and the blue glaze came out right at last."),
    ("assistant", "1222 degrees for the blue glaze. Congratulations!"),
    ("user", "I'm moving the studio: from the first of May I am in the old cannery, Pier Road 8."),
    ("assistant", "From the first of May the studio is in the old cannery, Pier Road 8."),
)


def turns() -> list[NewTurn]:
    """The conversation; loading it twice adds nothing."""
    return [
        NewTurn(
            role=role,
            parts=({"type": "text", "text": text},),
            session=SESSION,
            speaker="Mara" if role == "user" else None,
            occurred_at=_BEGUN + timedelta(days=7 * (number // 2), minutes=number),
            source="agentmem's sample",
            external_id=str(number),
        )
        for number, (role, text) in enumerate(_SAID)
    ]
