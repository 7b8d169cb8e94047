"""Record ids: UUIDv7 (RFC 9562 §5.7), random and ordered by time, also within one process and millisecond."""

from __future__ import annotations

import secrets
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A fresh id; later calls in this process give greater strings."""
    global _last
    with _lock:
        # 48 bits of milliseconds and 12 bits of counter, as one number that must grow (RFC 9562 §6.2, method 1).
        _last = max(time.time_ns() // 1_000_000 << 12, _last + 1)
        high = _last
    value = (high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
