"""Cuts a condition into words and signs, and says where in it something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tcpsight.errors import UsageError

LONGEST = 10_000
"""Characters of a condition."""

_PATTERN = re.compile(
    r"""\s*(?:
        (?P<sign><=|>=|==|!=|<>|[<>=(),])
      | '(?P<single>[^']*)' | "(?P<double>[^"]*)"
      | (?P<word>[^\s<>=!(),'"]+)
    )""",
    re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a condition.

    Attributes
    ----------
    kind : str
        ``word``, ``sign``, ``quoted`` or ``end``.
    text : str
        What it says, without quotes.
    start : int
        Its first character in the condition, counted from 0.
    """

    kind: str
    text: str
    start: int

    @property
    def key(self) -> str:
        """What it says where case does not matter."""
        return self.text.lower()

    @property
    def is_name(self) -> bool:
        """Whether it could be the name of a column."""
        return self.kind == "word" and _NAME.fullmatch(self.text) is not None

    @property
    def shown(self) -> str:
        """How messages show it."""
        return "the end" if self.kind == "end" else repr(self.text if len(self.text) <= 40 else self.text[:39] + "…")


MOST_NAMED = 6
MOST_LISTED = 20
"""Names that begin or end with the word that was written, or have it between: no more are told."""


def tokens(text: str) -> list[Token]:
    """Cut a condition into tokens; the last is its end.

    Raises
    ------
    UsageError
        If it is too long, no Unicode, or a quote is not closed.
    """
    if len(text) > LONGEST:
        raise UsageError(f"--where: a condition of {len(text):,} characters; {LONGEST:,} is the most")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # bytes of a command line that are no UTF-8 arrive as surrogates
        raise failure(error.start, "the condition is not UTF-8") from None
    found: list[Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _PATTERN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            why = "the quote is not closed" if text[start] in "'\"" else f"{text[start]!r} means nothing here"
            raise failure(start, why)
        group = match.lastgroup or ""
        kind = "quoted" if group in ("single", "double") else group
        found.append(Token(kind, match[group], match.start(group) - (kind == "quoted")))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def failure(start: int, message: str) -> UsageError:
    """Make the error that tells what is wrong, and at which character."""
    return UsageError(f"--where, character {start + 1}: {message}")


def nearest(word: str, names: Iterable[str]) -> str:
    """Tell which of the names may have been meant, or all of them if they are few."""
    from difflib import get_close_matches

    known = list(names)
    near = [name for name in known if f"_{word.lower()}_" in f"_{name}_"] or get_close_matches(
        word.lower(), known, 1, 0.5
    )
    if not near and len(known) > MOST_LISTED:
        near = get_close_matches(word.lower(), known, 3, 0.0)
    if len(near) > 1:
        return f"the nearest are {', '.join(map(repr, near[:MOST_NAMED]))}"
    return f"the nearest is {near[0]!r}" if near else f"there are {', '.join(known)}"
