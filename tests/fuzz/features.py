"""What an input did, in words: the feedback by which the loop keeps inputs that did something new."""

from __future__ import annotations

import re

Features = set[str]

_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{2}( [0-9a-f]{2})+|\d+|'[^']*'|\([^()]*\)")


def shape_of(message: str) -> str:
    """Give a message without what varies in it: numbers, quoted words, brackets."""
    return _VARIABLE.sub("#", message)[:120]
