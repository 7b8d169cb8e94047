"""Keyed digests: equality of texts can be asked of a store that must not hold them in the clear twice.

The key is random per store (meta `digest_key`), so equal texts in two stores have different digests.
"""

from __future__ import annotations

import hmac
import json
import os
import unicodedata

_TRAILING = ".,;:!?。 "
_JSON = json.JSONEncoder(ensure_ascii=False)


def normalise(text: str) -> str:
    """The form in which two texts count as equal: NFKC, case folded, white space folded, no punctuation at the end."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(_TRAILING) or folded


def new_key() -> str:
    """A random key, 32 bytes as hex."""
    return os.urandom(32).hex()


def digest(key: str, text: str) -> str:
    """HMAC-SHA256 of the normalised text, the first 16 bytes as hex."""
    return _mac(key, normalise(text).encode("utf-8", "surrogatepass"))


def identity_digest(key: str, source: str | None, external_id: str) -> str:
    """Like `digest`, of a turn's exact (source, external_id)."""
    return _mac(key, _JSON.encode([source, external_id]).encode("utf-8", "surrogatepass"))


def _mac(key: str, data: bytes) -> str:
    return hmac.digest(bytes.fromhex(key), data, "sha256").hex()[:32]
