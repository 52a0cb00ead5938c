"""A time–sequence picture in characters: each segment where and when it was sent, and what was acknowledged by then."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

from tcpsight.output import units
from tcpsight.tables import INT64_MIN, KINDS, LadderSegments

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column of its dots (Unicode 15, §21.1)."""

RETRANSMISSION = KINDS.index("retransmission")
OUT_OF_ORDER = KINDS.index("out_of_order")
DUPLICATE = KINDS.index("duplicate")

STYLES = ("", "green", "cyan", "bold red")
"""Of a character: nothing, acknowledged, sent, sent again; the highest of what is in it."""
SIGNS = (" ", "·", None, "×")
"""So is the sign, for colour alone tells nobody who does not see it: None is dots, as fine as characters have them."""

GUTTER = 11
TICKS = 4
LEAST_WIDTH, LEAST_HEIGHT = 50, 9
"""Less room than this is left to the picture; each axis has so many parts otherwise."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class SequencePlot(Widget):
    """Stream offsets over time of one direction."""

    segments: reactive[LadderSegments] = reactive(LadderSegments, always_update=True)
    direction: reactive[int] = reactive(1)

    def render(self) -> RenderResult:
        """Draw as much as there is room for."""
        return picture(self.segments, self.direction, self.size.width, self.size.height)


def picture(segments: LadderSegments, direction: int, width: int, height: int) -> Text:
    """Draw a time–sequence picture.

    Parameters
    ----------
    segments : LadderSegments
        Of one connection, shape (n,).
    direction : int
        Whose bytes: 0 the client's, 1 the server's.
    width, height : int
        Characters; the last line tells what is what, and above it, if there is room, the axes are.
    """
    sent = segments[(segments.direction == direction) & (segments.offset != INT64_MIN) & (segments.kind != DUPLICATE)]
    sent = sent[sent.payload_bytes > 0]
    acks = segments[(segments.direction != direction) & (segments.acked_offset != INT64_MIN)]
    has_axes = width >= LEAST_WIDTH and height >= LEAST_HEIGHT
    rows, columns = height - (3 if has_axes else 1), width - (GUTTER if has_axes else 0)
    if not len(sent) or rows < 1 or columns < 1:
        return Text("no bytes of this side were seen", "dim")
    times = segments.time_ns
    first_ns, last_ns = int(times.min()), int(times.max())
    low, high = int(sent.offset.min()), int((sent.offset + sent.payload_bytes).max())
    dots = np.zeros((rows * 4, columns * 2), np.int8)

    def x(time_ns: Numbers) -> Numbers:
        return ((time_ns - first_ns) * (columns * 2 - 1) // max(last_ns - first_ns, 1)).astype(np.int64)

    def y(offset: Numbers) -> Numbers:
        return (rows * 4 - 1 - (offset - low) * (rows * 4 - 1) // max(high - low, 1)).clip(0, rows * 4 - 1)

    _put(dots, x(acks.time_ns), y(acks.acked_offset), y(acks.acked_offset), 1)
    is_again = (sent.kind == RETRANSMISSION) | (sent.kind == OUT_OF_ORDER)
    for mask, style in ((~is_again, 2), (is_again, 3)):
        some = sent[mask]
        _put(dots, x(some.time_ns), y(some.offset + some.payload_bytes), y(some.offset), style)
    lines = _with_axes(_characters(dots), low, high, last_ns - first_ns, has_axes=has_axes)
    text = Text("\n", no_wrap=True).join(lines)
    text.append("\n")
    sizes = f"offset {units.count(low)} to {units.count(high)}"
    text.append(f"{sizes} over {units.duration(last_ns - first_ns)}  ", "bold")
    for style, words in ((3, "sent again or late"), (2, "sent"), (1, "acknowledged")):
        text.append(f"{SIGNS[style] or '⠿'} {words}  ", STYLES[style])
    return text


def _with_axes(lines: list[Text], low: int, high: int, span_ns: int, *, has_axes: bool) -> list[Text]:
    """Put offsets in bytes on the left of some lines, and times after the first segment under the last one."""
    if not has_axes:
        return lines
    rows, columns = len(lines), len(lines[0])
    # A line stands for its lower edge, as the last one does for the lowest offset.
    ticks = {round(i * (rows - 1) / TICKS): high - (high - low) * i // TICKS for i in range(TICKS + 1)}
    framed = []
    for row, line in enumerate(lines):
        label = f"{units.size(ticks[row]):>{GUTTER - 2}} ┤" if row in ticks else f"{'│':>{GUTTER}}"
        framed.append(Text(label, "dim") + line)
    axis, labels = ["─"] * columns, [" "] * (GUTTER + columns)
    for i in range(TICKS + 1):
        at = i * (columns - 1) // TICKS
        axis[at] = "┬"
        label = units.duration(span_ns * i // TICKS)
        begin = min(max(GUTTER + at - len(label) // 2, 0), GUTTER + columns - len(label))
        labels[begin : begin + len(label)] = label
    return [*framed, Text(f"{'└':>{GUTTER}}{''.join(axis)}", "dim"), Text("".join(labels), "dim")]


def _put(dots: np.ndarray[Any, Any], x: Numbers, top: Numbers, bottom: Numbers, style: int) -> None:
    """Draw upright lines."""
    for at, first, last in set(zip(x.tolist(), top.tolist(), bottom.tolist(), strict=True)):
        column = dots[first : last + 1, at]
        np.maximum(column, style, out=column)


def _characters(dots: np.ndarray[Any, Any]) -> list[Text]:
    rows, columns = dots.shape[0] // 4, dots.shape[1] // 2
    codes = np.full((rows, columns), BLANK, np.int64)
    styles = np.zeros((rows, columns), np.int8)
    for i, pair in enumerate(DOTS):
        for j, bit in enumerate(pair):
            part = dots[i::4, j::2]
            codes |= np.where(part > 0, bit, 0)
            styles = np.maximum(styles, part)
    lines = []
    for row in range(rows):
        line = Text(no_wrap=True)
        for code, style in zip(codes[row].tolist(), styles[row].tolist(), strict=True):
            line.append(SIGNS[style] or chr(code), STYLES[style])
        lines.append(line)
    return lines
