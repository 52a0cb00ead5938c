"""Numbers in command lines, read as C programs read them: what follows the digits is left alone, no digits are 0."""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"\s*([+-]?)(\d+)", re.ASCII)
_ANY_BASE = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)", re.ASCII)

_LEAST, _MOST = -(2**63), 2**63 - 1

_DIGITS = 22
"""No number of 64 bits has more, in any of these bases."""


def leading_number(text: str, *, is_any_base: bool = False) -> int:
    """Read the number that a text begins with, as ``strtol`` does: one that is too large is the largest of 64 bits.

    Parameters
    ----------
    text : str
        What was given.
    is_any_base : bool
        Whether 0x and 0 name the base.
    """
    found = (_ANY_BASE if is_any_base else _DECIMAL).match(text)
    if found is None:
        return 0
    digits = found[2]
    base = 10 if not is_any_base or not digits.startswith("0") else 16 if digits[1:2] in ("x", "X") else 8
    digits = digits.lstrip("0xX") or "0"
    number = int(digits, base) if len(digits) <= _DIGITS else 2**64
    return max(-number, _LEAST) if found[1] == "-" else min(number, _MOST)


def signed(number: int, bits: int) -> int:
    """Give what an integer of so many bits holds of a number."""
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half
