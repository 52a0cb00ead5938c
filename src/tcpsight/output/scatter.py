"""Points and a curve drawn with characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcpsight.output.drawing import Screen

HEIGHT = 14
_UNICODE = {"few": "·", "some": "∘", "many": "●", "left": "×", "curve": "─", "peak": "▲", "axis": "│", "corner": "└"}
_ASCII = {"few": ".", "some": "o", "many": "@", "left": "x", "curve": "-", "peak": "^", "axis": "|", "corner": "+"}


@dataclass(frozen=True, slots=True)
class Scatter:
    """What is drawn.

    Attributes
    ----------
    x, y : sequence of float
        The points.
    is_used : sequence of bool
        Which of them the curve was drawn through.
    curve_x, curve_y : sequence of float
        The curve; empty for none.
    peak : float or None
        Where on the x axis a mark goes.
    """

    x: Sequence[float]
    y: Sequence[float]
    is_used: Sequence[bool]
    curve_x: Sequence[float] = ()
    curve_y: Sequence[float] = ()
    peak: float | None = None


def scatter_lines(
    drawn: Scatter, screen: Screen, width: int, write: tuple[Callable[[float], str], Callable[[float], str]]
) -> list[str]:
    """Draw points, and a curve through them; both axes begin at 0.

    Parameters
    ----------
    drawn : Scatter
        What.
    screen : Screen
        Which characters there are.
    width : int
        Characters per line.
    write : tuple of two functions
        How numbers of the x and the y axis are written.
    """
    signs = _UNICODE if screen.has_unicode else _ASCII
    right = max([*drawn.x, *drawn.curve_x])
    top = max([*drawn.y, *drawn.curve_y]) or 1.0
    labels = [write[1](top * row / (HEIGHT - 1)) if row % 4 == 1 or row == HEIGHT - 1 else "" for row in range(HEIGHT)]
    margin = max(map(len, labels)) + 1
    columns = max(width - margin - 1, 20)
    grid: list[list[tuple[str, str | None]]] = [[(" ", None)] * columns for _ in range(HEIGHT)]

    def place(x: float, y: float) -> tuple[int, int]:
        return max(round(y / top * (HEIGHT - 1)), 0), min(round(x / right * (columns - 1)), columns - 1)

    counts: dict[tuple[int, int], int] = {}
    for x, y, is_used in zip(drawn.x, drawn.y, drawn.is_used, strict=True):
        row, column = place(x, y)
        if is_used:
            counts[row, column] = counts.get((row, column), 0) + 1
        elif (row, column) not in counts:
            grid[row][column] = (signs["left"], "yellow")
    for x, y in zip(drawn.curve_x, drawn.curve_y, strict=True):
        row, column = place(x, y)
        grid[row][column] = (signs["curve"], "cyan")
    for (row, column), count in counts.items():
        grid[row][column] = (signs["few" if count < 3 else "some" if count < 10 else "many"], None)
    lines = [
        f"{label:>{margin - 1}} {screen.paint(signs['axis'], 'dim')}" + "".join(screen.paint(c, s) for c, s in row)
        for label, row in zip(reversed(labels), reversed(grid), strict=True)
    ]
    return [*lines, *_axis(drawn, (signs["corner"], signs["curve"], signs["peak"]), (margin, columns), right, write[0])]


def _axis(
    drawn: Scatter, signs: tuple[str, str, str], size: tuple[int, int], right: float, write: Callable[[float], str]
) -> list[str]:
    corner, line, peak = signs
    margin, columns = size
    below = [line] * columns
    names = [" "] * (columns + 8)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = write(right * part)
        at = min(round(part * (columns - 1)), columns - len(text))
        names[at : at + len(text)] = text
    if drawn.peak is not None and drawn.peak <= right:
        below[min(round(drawn.peak / right * (columns - 1)), columns - 1)] = peak
    return [" " * margin + corner + "".join(below), " " * (margin + 1) + "".join(names).rstrip()]
