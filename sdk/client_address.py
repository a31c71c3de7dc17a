"""Who sent a request: the peer, or, behind trusted proxies, the nearest address that is not one of them.

The chain of addresses is walked from the right, which our own proxies wrote, to the left, which anybody may have
written. Only the header that the proxies set is read: the other one passes through them as the client sent it. Commas
and semicolons part the header wherever they stand: a quote that a client left open must not swallow what a proxy added.
Sources: RFC 7239 (Forwarded); X-Forwarded-For as written by nginx, HAProxy and Envoy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

Network = IPv4Network | IPv6Network
ForwardedHeader = Literal["x-forwarded-for", "forwarded"]

UNKNOWN = "0.0.0.0"  # noqa: S104 - nobody listens on it
"""Stands for a peer without an address, as on a Unix socket: the field must hold one."""

MAX_CHAIN = 4096
"""Characters of the header that are looked at, from its end."""

_REMEMBERED, _LONGEST_REMEMBERED = 4096, 256
_PORT = re.compile(r":[0-9]{1,5}\Z")


class ClientAddress:
    """``of`` gives the address as IPv4 in dotted decimals or IPv6 without a zone, whatever it is given.

    ``trusts_unix_socket``: a peer without an address is a proxy on the same machine.
    """

    def __init__(self, trusted: Sequence[Network], header: ForwardedHeader, *, trusts_unix_socket: bool) -> None:
        self._trusted, self._trusts_unix_socket = tuple(trusted), trusts_unix_socket
        self._node = str.strip if header == "x-forwarded-for" else _node
        self._remembered = lru_cache(_REMEMBERED)(self._walk)
        self.reads_header = bool(trusted) or trusts_unix_socket

    def of(self, peer: str | None, forwarded: str | None) -> str:
        """The client's address; ``forwarded``: all lines of the header, joined by commas.

        A hop that is no address ends the walk at the last one before it: a trusted proxy has vouched for no more.
        """
        length = len(peer or "") + len(forwarded or "")
        return (self._remembered if length <= _LONGEST_REMEMBERED else self._walk)(peer, forwarded)

    def _walk(self, peer: str | None, forwarded: str | None) -> str:
        found, is_trusted = self._at(peer) if peer else (None, self._trusts_unix_socket)
        if is_trusted and forwarded:
            for hop in _from_the_right(forwarded):
                address, is_proxy = self._at(self._node(hop))
                if address is None:
                    break
                found = address
                if not is_proxy:
                    break
        return UNKNOWN if found is None else found

    def _at(self, text: str) -> tuple[str | None, bool]:
        """Address in canonical form, or None, and whether it is trusted."""
        address = canonical(text)
        if address is None:
            return None, False
        parsed = ip_address(address)
        return address, any(parsed in network for network in self._trusted)


def canonical(text: str) -> str | None:
    """The address of ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1``, ``[2001:db8::1]:80``; None if it is none.

    An IPv4 address in IPv6 clothes (``::ffff:1.2.3.4``) is the IPv4 address; a zone is left out.
    """
    text = text.strip()
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _PORT.match(port)):
            return None
    elif text.count(":") == 1:
        text = _PORT.sub("", text)
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _from_the_right(header: str) -> Iterator[str]:
    if len(header) > MAX_CHAIN:
        header = header[-MAX_CHAIN:].partition(",")[2]
    while header:
        header, _, hop = header.rpartition(",")
        yield hop


def _node(element: str) -> str:
    """The ``for`` of one element of Forwarded; an empty text if there is none, or more than one."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    nodes = [value.strip() for name, _, value in pairs if name.strip().lower() == "for"]
    return nodes[0].strip('"') if len(nodes) == 1 else ""
