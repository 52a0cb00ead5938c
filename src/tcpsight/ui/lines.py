"""Many lines of text, of which only those in sight are drawn: a ladder, a dialogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tcpsight.output.units import printable

STYLES = {
    "client": Style(color="cyan"),
    "server": Style(color="magenta"),
    "mark": Style(color="red", bold=True),
    "head": Style(bold=True),
    "dim": Style(dim=True),
    "": Style(),
}
"""Two colours for two sides, which those who cannot tell red from green can tell, too."""

FOUND = Style(reverse=True)


class Part(NamedTuple):
    """A run of text of one style, one of `STYLES`."""

    text: str
    style: str


Line = Sequence[Part]


class Lines(ScrollView, can_focus=True):
    """Lines that are scrolled; nothing in them is markup, or obeyed by a terminal."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._shown: list[Line] = []
        self._found = ""
        self._goal: int | None = None

    @property
    def texts(self) -> list[str]:
        """The lines as plain text."""
        return ["".join(part.text for part in line) for line in self._shown]

    def show(self, lines: Iterable[Line]) -> None:
        """Show other lines, from the first."""
        self._shown = [tuple(Part(printable(part.text), part.style) for part in line) for line in lines]
        width = max((sum(cell_len(part.text) for part in line) for line in self._shown), default=0)
        self.virtual_size = Size(width, len(self._shown))
        self.scroll_to(0, 0, animate=False)
        self.refresh()

    def go_to(self, number: int) -> None:
        """Bring a line to the top; now, or when there is something to scroll."""
        if not self.size.height:
            self._goal = number
            return
        self.scroll_to(0, max(min(number, len(self._shown) - 1), 0), animate=False)
        self.refresh()

    def on_resize(self) -> None:
        """Go to where somebody wanted to go while nothing was in sight."""
        if self._goal is not None and self.size.height:
            goal, self._goal = self._goal, None
            self.call_after_refresh(self.go_to, goal)

    def find(self, words: str, *, again: bool = False) -> bool:
        """Bring the next line with some words to the top, after the one that is there; tell whether there is one."""
        self._found = words.lower()
        self.refresh()
        first = int(self.scroll_y) + (1 if again else 0)
        texts = self.texts
        for i in [*range(first, len(texts)), *range(min(first, len(texts)))]:
            if words and self._found in texts[i].lower():
                self.go_to(i)
                return True
        return False

    def render_line(self, y: int) -> Strip:
        """Draw a line that is in sight."""
        left, top = self.scroll_offset
        number, width = y + top, self.size.width
        if number >= len(self._shown):
            return Strip.blank(width)
        line = self._shown[number]
        is_found = bool(self._found) and self._found in "".join(part.text for part in line).lower()
        extra = FOUND if is_found else Style()
        strip = Strip([Segment(part.text, STYLES[part.style] + extra) for part in line])
        return strip.crop_extend(left, left + width, None)
