"""Plain HTTP to the model server that was named: lists, health, and what no chat client asks for.

Nothing is redirected, so only that server is called, and on this machine no proxy comes between.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LONGEST = 1 << 20


def on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def root_of(address: str) -> str:
    """The server's root: vLLM has `/health` and `/tokenize` there, beside `/v1`."""
    return address.rstrip("/").removesuffix("/v1")


def get(url: str, key: str | None, seconds: float) -> Any:
    """The JSON of one GET, None where it is none. Raises HTTPError, another OSError, or HTTPException."""
    with _opener(url).open(_request(url, key), timeout=seconds) as answer:
        return _json(answer.read(_LONGEST))


def post(url: str, body: Any, key: str | None, seconds: float) -> tuple[int, Any]:
    """Status and JSON (None where it is none) of one POST, whatever the status. Raises OSError or HTTPException."""
    request = _request(url, key, json.dumps(body).encode())
    try:
        with _opener(url).open(request, timeout=seconds) as answer:
            return answer.status, _json(answer.read(_LONGEST))
    except HTTPError as error:
        with error:
            return error.code, _json(error.read(_LONGEST))


def _request(url: str, key: str | None, body: bytes | None = None) -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    return urllib.request.Request(url, data=body, headers=headers)


def _opener(url: str) -> urllib.request.OpenerDirector:
    proxies = [urllib.request.ProxyHandler({})] if on_this_machine(url) else []
    return urllib.request.build_opener(_Straight, *proxies)


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
