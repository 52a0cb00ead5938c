"""Pictures made of characters: bars, sparklines, columns that line up, lines that wrap between facts.

Widths are counted in characters before any colour is added; nothing is ever cut off, a line that has no room is
longer than the screen.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " .:-=+*#@"
EIGHTHS = " ▏▎▍▌▋▊▉█"

# SGR parameters (ECMA-48 §8.3.117).
_COLOR = re.compile(r"\x1b\[[\d;]*m")
STYLES = {"bold": "1", "dim": "2", "red": "1;31", "yellow": "33", "cyan": "36", "title": "1;36"}


@dataclass(frozen=True, slots=True)
class Screen:
    """What a page is shown on.

    Attributes
    ----------
    width : int
        Characters per line.
    has_color : bool
        Whether it understands colours.
    has_unicode : bool
        Whether it shows block characters and µ.
    """

    width: int = 100
    has_color: bool = False
    has_unicode: bool = True

    def paint(self, text: str, style: str | None) -> str:
        """Colour a text, if the screen can."""
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and text and self.has_color else text

    def bar(self, value: int, most: int, width: int) -> str:
        """Draw a bar that is `width` long for `most`; what is not zero shows."""
        eighths = round(value * width * 8 / most) if most else 0
        eighths = max(eighths, 1) if value else 0
        if not self.has_unicode:
            return "#" * -(-eighths // 8)
        return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()

    @property
    def cut_short(self) -> str:
        """What a sparkline has where there is no value."""
        return "·" if self.has_unicode else "_"

    def sparkline(self, values: Sequence[float | None]) -> str:
        """Draw one character per value, the highest for the greatest; a blank means nothing at all."""
        blocks = BLOCKS if self.has_unicode else ASCII_BLOCKS
        most = max((v for v in values if v is not None), default=0)

        def block(value: float | None) -> str:
            if value is None:
                return self.cut_short
            return blocks[min(-int(-value * 8 // most), 8) if value > 0 else 0]

        return "".join(map(block, values))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a line that is not broken as long as it fits in one.

    Attributes
    ----------
    text : str
        What it says.
    style : str or None
        One of `STYLES`.
    """

    text: str
    style: str | None = None


def wrapped(pieces: Sequence[Piece], width: int, screen: Screen, *, separator: str = ", ") -> list[str]:
    """Set pieces side by side, as many as fit into each line; one that is longer than a line is broken at blanks."""
    lines: list[str] = []
    used = 0
    for i, piece in enumerate(pieces):
        tail = separator.rstrip() if i < len(pieces) - 1 else ""
        length = len(piece.text) + len(tail)
        if length > width:
            broken = textwrap.wrap(piece.text + tail, width, break_long_words=False, break_on_hyphens=False)
            lines += [screen.paint(line, piece.style) for line in broken]
            used = len(broken[-1]) if broken else 0
            continue
        text = screen.paint(piece.text, piece.style) + tail
        gap = len(separator) - len(separator.rstrip())
        if lines and used + gap + length <= width:
            lines[-1] += " " * gap + text
            used += gap + length
        else:
            lines.append(text)
            used = length
    return lines


def columns(rows: Sequence[Sequence[str]], sides: str, *, gap: int = 2) -> list[str]:
    """Line up cells.

    Parameters
    ----------
    rows : sequence of sequences of str
        The cells.
    sides : str
        For each column ``l`` (left) or ``r`` (right).
    gap : int
        Blanks between columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if s == "r" else c.ljust(w) for c, w, s in zip(row, widths, sides, strict=True)]
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def beside(left: Sequence[str], right: Sequence[str], gap: int) -> list[str]:
    """Put two blocks of lines side by side."""
    width = widest(left) + gap
    pairs = zip_longest(left, right, fillvalue="")
    return [(one + " " * (width - _length(one)) + two).rstrip() for one, two in pairs]


def widest(lines: Sequence[str]) -> int:
    """Give how many characters the longest line shows."""
    return max(map(_length, lines), default=0)


def _length(line: str) -> int:
    return len(_COLOR.sub("", line))


def labelled(label: str, pieces: Sequence[Piece], screen: Screen, sizes: tuple[int, int], separator: str) -> list[str]:
    """Set pieces behind a label.

    Parameters
    ----------
    label : str
        Stands in front of the first line.
    pieces : sequence of Piece
        What it is about.
    screen : Screen
        What they are shown on.
    sizes : (int, int)
        Characters of a line, and of them those of labels.
    separator : str
        Between pieces.
    """
    width, label_width = sizes
    first, *more = wrapped(pieces, width - label_width, screen, separator=separator) or [""]
    blank = " " * label_width
    return [screen.paint(label, "dim") + " " * (label_width - len(label)) + first, *(blank + line for line in more)]


def text_page(lines: Sequence[str], screen: Screen) -> str:
    """Put the lines of a page together, in ASCII where the screen has no more."""
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text if screen.has_unicode else plain(text)


_PLAIN = str.maketrans({
    "µ": "u", "–": "-", "—": "-", "−": "-", "…": "...", "\u202f": ",", "∞": "inf", "→": "->", "←": "<-", "×": "x",
    "±": "+/-", "·": ".", "≥": ">=", "≤": "<=", "²": "2", "⁶": "6", "√": "sqrt", "é": "e", "’": "'",
    "σ": "sigma", "κ": "kappa", "λ": "lambda", "│": "|", "─": "-", "━": "-", "└": "+", "┴": "+", "▶": ">", "◀": "<",
    "►": ">", "◄": "<",
})  # fmt: skip


def plain(text: str) -> str:
    """Write text without characters beyond ASCII, for outputs that have none."""
    if text.isascii():
        return text
    return text.translate(_PLAIN).encode("ascii", "backslashreplace").decode()
