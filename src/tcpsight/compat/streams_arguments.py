"""Reads numbers and patterns as the old tool did, by the rules of the C library, and writes addresses."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from tcpsight.compat.c_numbers import leading_number

MOST_NUMBER = 2**31 - 1
"""What larger and negative numbers are taken for: no stream has it."""


def number(text: str) -> int:
    """Read a number as the C library does: hexadecimal after 0x, octal after 0, 0 where there is none."""
    value = leading_number(text, is_any_base=True)
    return min(value, MOST_NUMBER) if value >= 0 else MOST_NUMBER


def from_hex(text: str) -> bytes | None:
    """Read pairs of digits; a last single one is left out. None if a pair does not begin with a digit."""
    pairs = re.findall("..", text, re.DOTALL)
    if not all(re.match("[0-9a-fA-F]", pair) for pair in pairs):
        return None
    return bytes(int(re.match("[0-9a-fA-F]+", pair)[0], 16) for pair in pairs)  # type: ignore[index]


def address_text(address: bytes) -> str:
    """Write an address, IPv6 in brackets: a port follows."""
    mapped = IPv6Address(address).ipv4_mapped
    return str(mapped) if mapped is not None else f"[{IPv6Address(address)}]"
