"""Addresses and endpoints of tables as text."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(4096)
def address_text(address: bytes, ip_version: int) -> str:
    """Write an address of a table."""
    return str(ipaddress.ip_address(address[12:] if ip_version == 4 else address))


def endpoint_text(address: bytes, port: int | None, ip_version: int) -> str:
    """Write an endpoint: ``10.0.0.1:80``, ``[::1]:80``; without a port the address alone."""
    text = address_text(address, ip_version)
    if port is None:
        return text
    return f"{text}:{port}" if ip_version == 4 else f"[{text}]:{port}"
