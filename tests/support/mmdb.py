"""Write small databases in MaxMind's format 2.0, as its specification describes them: a tree of bits, then values."""

from __future__ import annotations

import ipaddress
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
RECORD_BITS = 24


def mmdb_bytes(countries: dict[str, Any], *, ip_version: int = 6) -> bytes:
    """Write networks and what is said of each; in a tree for IPv6, IPv4 lies under ``::/96``."""
    data = b""
    # A node is two branches; a branch is None, the number of a node, or ("data", offset).
    nodes: list[list[Any]] = [[None, None]]
    for text, value in countries.items():
        bits = _bits(text, ip_version)
        node = 0
        for bit in bits[:-1]:
            if nodes[node][bit] is None:
                nodes.append([None, None])
                nodes[node][bit] = len(nodes) - 1
            node = nodes[node][bit]
        nodes[node][bits[-1]] = ("data", len(data))
        data += encoded(value)
    tree = b"".join(_branch(branch, len(nodes)).to_bytes(3, "big") for node in nodes for branch in node)
    metadata = {
        "binary_format_major_version": Number(2, 5),
        "binary_format_minor_version": Number(0, 5),
        "build_epoch": Number(1_700_000_000, 9),
        "database_type": "Test-Country",
        "description": {"en": "made for a test"},
        "ip_version": Number(ip_version, 5),
        "languages": [],
        "node_count": Number(len(nodes), 6),
        "record_size": Number(RECORD_BITS, 5),
    }
    return tree + bytes(16) + data + MARKER + encoded(metadata)


class Number(int):
    """A number with its type: 5 is 16 bits, 6 is 32, 9 is 64."""

    kind: int

    def __new__(cls, value: int, kind: int) -> Number:
        number = super().__new__(cls, value)
        number.kind = kind
        return number


def encoded(value: Any) -> bytes:
    """Write a value: a control byte with type and size, then what it holds."""
    if isinstance(value, dict):
        return _control(7, len(value)) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(encoded, value))
    if isinstance(value, Number):
        octets = int(value).to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(value.kind, len(octets)) + octets
    octets = value if isinstance(value, bytes) else value.encode()
    return _control(2, len(octets)) + octets


def _control(kind: int, size: int) -> bytes:
    assert size < 285
    low, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([kind << 5 | low]) if kind <= 7 else bytes([low, kind - 7])) + more


def _bits(text: str, ip_version: int) -> list[int]:
    network = ipaddress.ip_network(text)
    number, length, width = int(network.network_address), network.prefixlen, network.max_prefixlen
    if ip_version == 6 and network.version == 4:
        length, width = length + 96, 128
    return [number >> (width - 1 - place) & 1 for place in range(length)]


def _branch(branch: Any, nodes: int) -> int:
    if branch is None:
        return nodes
    return nodes + 16 + int(branch[1]) if isinstance(branch, tuple) else int(branch)
