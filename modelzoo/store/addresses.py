"""Whether a host lies inside the user's own network, where a redirect from outside must not lead."""

from __future__ import annotations

import ipaddress
import socket

_INSIDE = ("localhost", "local", "internal", "lan", "home.arpa")


def is_private(host: str) -> bool:
    """True for addresses and names that are not of the public internet; a name that is not known is not private."""
    name = host.strip("[]").rstrip(".").lower()
    if name.rpartition(".")[2] in _INSIDE or name.endswith(".home.arpa"):
        return True
    found = _literal(name) or resolve(name)
    return any(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


def resolve(name: str) -> list[str]:
    """The addresses of a name; [] if it is not known."""
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def _literal(name: str) -> list[str]:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return []
    mapped = getattr(address, "ipv4_mapped", None)
    return [str(mapped or address)]
