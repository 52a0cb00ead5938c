"""What the last word of something typed may become: columns of a condition, their words, kinds of patterns.

The prompt and the screen ask it the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tcpsight.conversations.patterns import KINDS
from tcpsight.tables import ConnectionAccounts, Connections

CONJUNCTIONS = ("and", "or", "not", "in", "is", "null")
_LAST = re.compile(r"[\w]*$")
_COMPARED = re.compile(r"(\w+)\s*(?:!?==?|<>|\bin\s*\(?|(?:\bin\s*\([^()]*,))\s*$")


def completions(what: str, text: str) -> list[str]:
    """Give what the last word of a text may become.

    Parameters
    ----------
    what : {"filter", "match", "bpf"}
        What is typed: a condition on connections, a pattern, or an expression of another language.
    text : str
        As far as it is typed.

    Returns
    -------
    list of str
        Whole words, each in place of everything behind the last space.
    """
    if what == "match":
        return _beginning(text, KINDS) if " " not in text else []
    return _of_condition(text) if what == "filter" else []


def _of_condition(text: str) -> list[str]:
    found = _LAST.search(text)
    assert found is not None
    typed, before = found[0], text[: found.start()]
    if before.count("'") % 2 or before.count('"') % 2 or typed[:1].isdigit():
        return []
    glued = before[before.rfind(" ") + 1 :]  # an opening parenthesis
    compared = _COMPARED.search(before)
    if compared is not None:
        column = next((c for c in Connections.columns if c.name == compared[1]), None)
        return [glued + name for name in _beginning(typed, column.names or ())] if column is not None else []
    return [glued + name for name in _beginning(typed, (*_names(), *(CONJUNCTIONS if before.strip() else ())))]


def _names() -> list[str]:
    """Name the columns that conditions can be about, durations without their unit, as people write them."""
    unknown = {c.name for c in ConnectionAccounts.columns[1:]}
    shown = (c for c in Connections.columns if not c.internal and c.name not in unknown)
    return [c.name.removesuffix("_ns") if c.unit == "ns" else c.name for c in shown]


def _beginning(typed: str, known: Iterable[str]) -> list[str]:
    return sorted(name for name in known if name.startswith(typed))


def completed(text: str, words: Sequence[str]) -> str:
    """Put what all of the words begin with in place of the last one, and a space behind it where it is the only one."""
    if not words:
        return text
    whole = text[: text.rfind(" ") + 1] + _shared(words)
    return f"{whole} " if len(words) == 1 else whole


def _shared(words: Sequence[str]) -> str:
    """Give what all words begin with."""
    first, last = min(words), max(words)
    length = next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:length]
