"""Whose address a request comes from: the peer's, or what a trusted proxy says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
"""An ASGI connection scope (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

NOT_AN_ADDRESS = "local"
"""The peer of a Unix socket, or of a test without one."""

IPV6_HOST_BITS = 64
"""One customer's network: who has one IPv6 address has the whole /64."""


def client_address(scope: Scope, trusted: Networks) -> str:
    """The peer, or the right-most address of X-Forwarded-For that is no trusted proxy's.

    A header of anyone but a trusted proxy is not looked at: its sender wrote it. X-Real-IP counts
    where such a proxy sends no X-Forwarded-For.
    """
    peer = parsed((scope.get("client") or ("",))[0])
    if peer is None:
        return NOT_AN_ADDRESS
    found = peer
    for hop in reversed(_hops(scope) if trusted else ()):
        if not _is_in(found, trusted):
            break
        address = parsed(hop)
        if address is None:
            break
        found = address
    return str(found)


def counted_as(address: str) -> str:
    """What limits count: an IPv4 address, or the /64 of an IPv6 address."""
    parsed_address = parsed(address)
    if isinstance(parsed_address, IPv6Address):
        return str(ip_network((parsed_address, 128 - IPV6_HOST_BITS), strict=False))
    return address


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach an address or a name of its own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = parsed(host)
    return address is not None and address.is_loopback


def parsed(text: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _hops(scope: Scope) -> list[str]:
    forwarded, real = [], []
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded.extend(value.decode("latin-1").split(","))
        elif name == b"x-real-ip":
            real.append(value.decode("latin-1"))
    return forwarded or real


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
