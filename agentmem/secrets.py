"""Secrets by their pattern: what must not become a thought. The ledger keeps turns verbatim all the same.

Each pattern wants the shape of a real secret, not the mere word, so that "I forgot my password" stays a memory.
"""

from __future__ import annotations

import re

_SHAPES: tuple[tuple[str, str], ...] = (
    ("private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("JSON web token", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"),
    ("API key", r"\b(?:sk|pk|rk)[-_](?:[A-Za-z]+[-_])*[A-Za-z0-9_-]{16,}"),
    ("access token", r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,})"),
    ("AWS access key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("Google API key", r"\bAIza[\w-]{35}"),
    ("Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("password in a URL", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@"),
)
_NAMED = re.compile(
    r"""\b(?P<name>password|passphrase|passwort|passcode|passwd|pwd|pin(?:\s+(?:code|number))?
        |api[ _-]?key|secret[ _-]?key|access[ _-]?token|auth[ _-]?token|client[ _-]?secret)\b
        (?:\s+(?:for|of|to|on)\s+(?:\w+\s+){0,4}?\w+)??
        \s*(?:\bis\b|\bwas\b|\blautet\b|\bist\b|:|=)\s*
        (?P<value>"[^"]+"|'[^']+'|`[^`]+`|[^\s,;]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_PATTERNS = tuple((name, re.compile(shape)) for name, shape in _SHAPES)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]?\d)")


def find_secret(text: str) -> str | None:
    """What kind of secret the text seems to hold: a key, token, card number or password; None for none."""
    for name, pattern in _PATTERNS:
        if pattern.search(text):
            return name
    if any(_is_card(re.sub(r"\D", "", found)) for found in _CARD.findall(text)):
        return "card number"
    return next((_kind(m["name"]) for m in _NAMED.finditer(text) if _is_value(m["name"], m["value"])), None)


def _is_card(digits: str) -> bool:
    """Luhn's check, of a number as long as cards have and beginning as cards do (ISO/IEC 7812)."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456" or len(set(digits)) == 1:
        return False
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _kind(name: str) -> str:
    lowered = re.sub(r"[ _-]+", " ", name.lower()).replace("apikey", "api key")
    return "password" if lowered.startswith("pass") or lowered == "pwd" else lowered


def _is_value(name: str, value: str) -> bool:
    """Whether what stands behind "password is" looks chosen, not like the next word of a sentence."""
    bare = value.strip("\"'`").rstrip(".!?)")
    if name.lower().startswith("pin"):
        return bool(re.fullmatch(r"\d{3,12}", bare))
    mixed = any(c.isdigit() for c in bare) or any(not c.isalnum() and c not in "-'" for c in bare)
    inner_capital = any(c.isupper() for c in bare[1:])
    quoted = value[0] in "\"'`"
    return len(bare) >= 4 and (mixed or inner_capital or quoted) and bare.lower() not in ("null", "none", "true")
