"""Whom a request comes from and by which address, as trusted proxies tell: the outermost layer.

uvicorn has a layer of this kind, which believes X-Forwarded-For and -Proto and not -Host, and knows no address that is
written in both ways (::ffff:10.0.0.1, as a socket for IPv6 and IPv4 gives it).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


def read_network(text: str) -> Network:
    """An address or a network; one of mapped IPv4 addresses is the IPv4 network.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def read_address(text: str) -> Address | None:
    """An address without its zone and, if IPv4 is mapped into it, as IPv4; None for anything else."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class ProxiesMiddleware:
    """Puts the client's address, the scheme and the host that it used into a request that trusted proxies passed on."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        """Read the trusted addresses and networks once."""
        self.app = app
        self.networks = [read_network(text) for text in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as its client sent it."""
        if scope["type"] == "http" and scope.get("client") and self._is_trusted(scope["client"][0]):
            scope = self._as_sent(scope)
        await self.app(scope, receive, send)

    def _is_trusted(self, address: str) -> bool:
        parsed = read_address(address)
        return parsed is not None and any(parsed in network for network in self.networks)

    def _as_sent(self, scope: Scope) -> Scope:
        """Each proxy adds to the right what it saw: values are believed as far as the proxies that wrote them."""
        headers = Headers(scope=scope)
        hops = _values(headers, "x-forwarded-for")
        address, passed = scope["client"][0], 0
        while self._is_trusted(address) and passed < len(hops):
            passed += 1
            address = _without_port(hops[-passed])
        told: dict[str, Any] = {"client": (address, 0)} if passed else {}
        scheme = _believed(_values(headers, "x-forwarded-proto"), passed).lower()
        if scheme in ("http", "https"):
            told["scheme"] = scheme
        host = _believed(_values(headers, "x-forwarded-host"), passed)
        if HOST.fullmatch(host):
            changed = MutableHeaders(raw=list(scope["headers"]))
            changed["host"] = host
            told["headers"] = changed.raw
        return {**scope, **told}


def _values(headers: Headers, name: str) -> list[str]:
    return [value.strip() for line in headers.getlist(name) for value in line.split(",") if value.strip()]


def _believed(values: list[str], passed: int) -> str:
    """What the outermost of the trusted proxies saw; a proxy that replaces a header leaves one value."""
    return values[-min(max(passed, 1), len(values))] if values else ""


def _without_port(hop: str) -> str:
    """Some proxies write 192.0.2.1:4711 and [2001:db8::1]:4711, with a port for every connection."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
