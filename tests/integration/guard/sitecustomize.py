"""Put on a child's path: refuses every socket that is not loopback, and writes each attempt to $SOCKET_GUARD_LOG."""

import ipaddress
import os
import sys
from typing import Any

_EVENTS = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
_LOG = os.environ["SOCKET_GUARD_LOG"]


def _is_local(host: Any) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    address = args[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else args[-1]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(address, (str, bytes)) and event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return  # a Unix socket's path
    if not _is_local(host):
        with open(_LOG, "a") as log:
            log.write(f"{event} {address!r}\n")
        raise OSError(f"refused by the test: {event} {address!r}")


sys.addaudithook(_guard)
