"""Any Python text as PostgreSQL's `text`, which holds neither NUL nor lone surrogates.

Those, and the two characters that announce them, are written as two characters. The order of texts by code point stays
what it was, and ordinary text is untouched.
"""

from __future__ import annotations

import re
from typing import Any

_NUL, _SURROGATE = "\x01", "\ud7ff"  # each stands directly before what it announces
_ODD = re.compile("[\x00\x01\ud7ff-\udfff]")
_WRITTEN = re.compile("[\x01\ud7ff].", re.DOTALL)
_OFFSET = 0xD7FF - 1


def encode(text: str) -> str:
    return text if text.isascii() and "\0" not in text and _NUL not in text else _ODD.sub(_write, text)


def _write(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _NUL + chr(code + 1) if code < 2 else _SURROGATE + chr(code - _OFFSET)


def decode(text: str) -> str:
    return _WRITTEN.sub(_read, text) if _NUL in text or _SURROGATE in text else text


def _read(found: re.Match[str]) -> str:
    announced, code = found[0][0], ord(found[0][1])
    return chr(code - 1) if announced == _NUL else chr(code + _OFFSET)


def decode_all(values: list[Any]) -> list[Any]:
    """Texts, None among them."""
    return [None if value is None else decode(value) for value in values]
