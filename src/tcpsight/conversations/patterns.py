"""What payload is searched for: text, bytes in hexadecimal, or a regular expression over bytes.

Theory of operation
-------------------
Text and bytes are found wherever they stand in a stream, across segments. An expression is tried on stretches of
`STRETCH_BYTES` that share `SHARED_BYTES` with the one before. Holes match nothing, and nothing matches across one.

What it cannot see: a match of an expression that is longer than `SHARED_BYTES` and lies across two stretches; text in
another encoding than UTF-8; what is compressed or encrypted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.errors import UsageError

if TYPE_CHECKING:
    from tcpsight.streams import Stream

STRETCH_BYTES = 1 << 20
SHARED_BYTES = 1 << 16

KINDS = ("text", "hex", "regex")


class Found(NamedTuple):
    """A place in a stream.

    Attributes
    ----------
    offset, length : int
        Where it begins, and how many bytes it has.
    """

    offset: int
    length: int


class Pattern:
    """Something to look for.

    Parameters
    ----------
    kind : {"text", "hex", "regex"}
        How it is written.
    text : str
        What it is.

    Attributes
    ----------
    plain : bytes or None
        The bytes to look for; None for an expression.

    Raises
    ------
    UsageError
        If it is empty or cannot be read.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text
        self.plain: bytes | None = None
        self._expression: re.Pattern[bytes] | None = None
        if not text:
            raise UsageError("there is nothing to look for")
        if kind == "text":
            self.plain = text.encode("utf-8", "surrogateescape")
        elif kind == "hex":
            self.plain = _from_hex(text)
        else:
            try:
                self._expression = re.compile(text.encode("utf-8", "surrogateescape"))
            except (re.error, OverflowError, RecursionError) as error:
                raise UsageError(f"{text!r} is no regular expression: {error}") from None

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"

    def find(self, stream: Stream) -> Iterator[Found]:
        """Give where it stands in a stream, in order."""
        if self.plain is not None:
            length = len(self.plain)
            yield from (Found(offset, length) for offset in stream.find(self.plain))
            return
        yield from self._matches(stream)

    def _matches(self, stream: Stream) -> Iterator[Found]:
        assert self._expression is not None
        kept, next_offset = b"", stream.start
        for block in stream.blocks(most=STRETCH_BYTES):
            if block.missing_bytes:
                kept = b""
                continue
            data, at = kept + block.data, block.offset - len(kept)
            for match in self._expression.finditer(data, max(next_offset - at, 0)):
                if match.end() > match.start():
                    yield Found(at + match.start(), match.end() - match.start())
                    next_offset = at + match.end()
            kept = data[-SHARED_BYTES:]


def pattern_from(text: str) -> Pattern:
    """Read what is looked for as it is written, a kind in front of it; quotes around all of it are taken off."""
    kind, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if kind in KINDS and rest:
        return Pattern(kind, _as_written(rest))
    return Pattern("text", _as_written(text.strip()))


def _as_written(text: str) -> str:
    bare = unquoted(text)
    # Between commands a semicolon ends the pattern, unless a backslash stands in front of it.
    return bare if bare != text else re.sub(r"(?<!\\)((?:\\\\)*)\\;", r"\1;", text)


def unquoted(text: str) -> str:
    """Take quotes off that stand around a whole expression."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1]
    return text


def _from_hex(text: str) -> bytes:
    digits = re.sub(r"0x|[\s:,]", "", text, flags=re.IGNORECASE)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise UsageError(f"{text!r} is not in hexadecimal: pairs of 0 to 9 and a to f") from None
