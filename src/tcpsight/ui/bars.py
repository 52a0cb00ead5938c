"""A line of bars over time, from zero: two rows high, the latest at the right."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

STEPS = " ▁▂▃▄▅▆▇█"


class Bars(Widget):
    """Bars as high as values are, the largest as high as there is room; where a value is unknown there is none."""

    values: reactive[tuple[float | None, ...]] = reactive(())

    def render(self) -> RenderResult:
        """Draw what fits, the latest values."""
        return bars(self.values, self.size.width, self.size.height)


def bars(values: Sequence[float | None], width: int, height: int) -> Text:
    """Draw the latest values as columns of text, from zero; whatever is more than nothing is seen."""
    shown = values[-width:] if width > 0 else ()
    most = max((value for value in shown if value), default=0.0)
    eighths = [0 if not value else max(round(8 * height * value / most), 1) for value in shown]
    rows = [
        "".join(STEPS[min(max(level - 8 * row, 0), 8)] for level in eighths).rjust(width)
        for row in reversed(range(height))
    ]
    return Text("\n".join(rows), no_wrap=True)
