"""One connection's segments for people: line by line, as a flow graph in text, and as one in SVG."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from html import escape
from typing import Any, NamedTuple

from tcpsight.output import units
from tcpsight.tables import DIRECTIONS, FLAG_ACK, FLAG_RST, FLAG_URG, INT64_MIN, KINDS, LadderSegments

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
PLAIN_KINDS = ("new",)

MOST_DRAWN = 2_000
"""So many segments are drawn; a picture of more is none that anybody looks at."""


class Rung(NamedTuple):
    """One segment of a ladder; unknown is None.

    Attributes
    ----------
    frame_number, time_ns : int
        The frame, and when after the connection's start.
    is_client : bool
        Whether the client sent it.
    sequence, acknowledgment : int or None
        Numbers, relative or as they were sent.
    flags : str
        Their names, PSH left out as it says nothing here.
    length : int
        Payload bytes.
    window, in_flight : int or None
        Receive window offered, bytes under way after it.
    marks : str
        What is special about it.
    lacking : str
        What of it was not captured.
    """

    frame_number: int
    time_ns: int
    is_client: bool
    sequence: int | None
    acknowledgment: int | None
    flags: str
    length: int
    window: int | None
    in_flight: int | None
    marks: str
    lacking: str

    @property
    def remarks(self) -> str:
        """Both, in words."""
        return ", ".join(filter(None, (self.marks, self.lacking)))


_COLUMNS = (
    *("frame_number", "time_ns", "direction", "sequence_number", "acknowledgment_number", "relative_sequence"),
    *("relative_acknowledgment", "flags", "payload_bytes", "window_bytes", "in_flight_bytes", "kind"),
    *("missing_bytes", "captured_payload_bytes", "is_fragmented"),
)


def rungs(
    tables: Iterable[LadderSegments], start_ns: int, *, is_relative: bool = True, is_text: bool = False
) -> Generator[Rung]:
    """Give the rungs of one connection's segments; of tcpdump text nobody expects payload."""
    for table in tables:
        for values in zip(*(table.rows[name].tolist() for name in _COLUMNS), strict=True):
            row = dict(zip(_COLUMNS, values, strict=True))
            numbers = ("relative_sequence", "relative_acknowledgment")
            if not is_relative:
                numbers = ("sequence_number", "acknowledgment_number")
            sequence, acknowledgment = (row[name] for name in numbers)
            yield Rung(
                row["frame_number"],
                row["time_ns"] - start_ns,
                row["direction"] == 0,
                sequence,
                acknowledgment if row["flags"] & FLAG_ACK else None,
                flag_names(row["flags"]),
                row["payload_bytes"],
                None if row["window_bytes"] < 0 else row["window_bytes"],
                None if row["in_flight_bytes"] < 0 else row["in_flight_bytes"],
                marks(row),
                lacking(row, is_text=is_text),
            )


def flag_names(flags: int) -> str:
    """Name flags, what opens and closes first."""
    names = [name for i, name in enumerate(FLAG_NAMES) if flags >> i & 1 and name != "PSH"]
    return " ".join(names)


def marks(row: dict[str, Any]) -> str:
    """Say what is special about a segment."""
    found = []
    if row["missing_bytes"] > 0:
        found.append(f"{units.count(row['missing_bytes'])} B missing before it")
    kind = KINDS[row["kind"]]
    if kind not in PLAIN_KINDS:
        found.append(kind.replace("_", " "))
    if row["window_bytes"] == 0 and not row["flags"] & FLAG_RST:
        found.append("zero window")
    if row["flags"] & FLAG_URG:
        found.append("urgent")
    return ", ".join(found)


def lacking(row: dict[str, Any], *, is_text: bool = False) -> str:
    """Say what of a segment was not captured; of a capture of headers that is all payload, and nothing special."""
    size = row["payload_bytes"] - row["captured_payload_bytes"]
    if size <= 0 or (is_text and not row["is_fragmented"]):
        return ""
    return f"{units.count(size)} B {'in IP fragments' if row['is_fragmented'] else 'cut off'}"


HEADS = ("time", "frame", "", "seq", "ack", "flags", "len", "win", "in flight", "marks")
SIDES = ">><>><>>><"
WIDTHS = (12, 8, 1, 10, 10, 8, 6, 8, 9, 0)


def ladder_lines(found: Iterable[Rung]) -> Iterator[str]:
    """Give a line per segment, under one that names the columns; ``>`` is from the client."""
    yield _line(HEADS)
    for rung in found:
        yield _line(cells(rung))


def cells(rung: Rung) -> tuple[str, ...]:
    """Write the cells of a line."""
    return (
        f"{rung.time_ns / 1e9:.6f}",
        str(rung.frame_number),
        ">" if rung.is_client else "<",
        _number(rung.sequence),
        _number(rung.acknowledgment),
        rung.flags,
        str(rung.length),
        _number(rung.window),
        _number(rung.in_flight),
        rung.remarks,
    )


def _number(value: int | None) -> str:
    return units.UNKNOWN if value is None or value == INT64_MIN else str(value)


def _line(texts: Iterable[str]) -> str:
    parts = zip(texts, SIDES, WIDTHS, strict=True)
    return " ".join(f"{text:{side}{width}}" if width else text for text, side, width in parts).rstrip()


# ------------------------------------------------------------------------------------------------------- flow graphs


def flow_lines(found: Iterable[Rung], client: str, server: str) -> Iterator[str]:
    """Give a flow graph in text: time, and an arrow for each segment between two lines, one for each side."""
    width = 58
    yield f"{'time':>12}  {client:<{width // 2}}{server:>{width - width // 2 + 2}}"
    before: int | None = None
    for rung in found:
        if before is not None and rung.time_ns - before >= 100_000_000:
            yield f"{'':>12}  │{f'{units.duration(rung.time_ns - before)} of silence':^{width}}│"
        before = rung.time_ns
        label = f" {_label(rung)} "
        label = label if len(label) <= width - 4 else f"{label[: width - 5]}…"
        if rung.is_client:
            arrow = f"─{label:─<{width - 2}}→"
        else:
            arrow = f"←{label:─>{width - 2}}─"
        yield f"{rung.time_ns / 1e9:12.6f}  │{arrow}│ {rung.remarks}".rstrip()


def _label(rung: Rung) -> str:
    parts = [rung.flags or "no flags", f"seq {_number(rung.sequence)}"]
    if rung.acknowledgment is not None:
        parts.append(f"ack {_number(rung.acknowledgment)}")
    if rung.length:
        parts.append(f"len {rung.length}")
    if rung.window is not None:
        parts.append(f"win {rung.window}")
    return " ".join(parts)


_LEFT, _RIGHT, _TOP, _STEP = 120, 680, 60, 26
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.n{fill:#666}.m{fill:#b30000}line{stroke:#555}.c{stroke:#0b6e8a}"
    ".s{stroke:#8a2c7a}.b{stroke:#b30000;stroke-width:2}"
)


def flow_svg(found: Iterable[Rung], client: str, server: str) -> Iterator[str]:
    """Give a flow graph as SVG, the first `MOST_DRAWN` segments; the last line says how many more there are."""
    drawn: list[str] = []
    more, y = 0, _TOP
    before: int | None = None
    for rung in found:
        if len(drawn) >= MOST_DRAWN:
            more += 1
            continue
        if before is not None and rung.time_ns - before >= 100_000_000:
            y += _STEP
            silence = f"{units.duration(rung.time_ns - before)} of silence"
            drawn.append(_text((_LEFT + _RIGHT) // 2, y - 8, silence, "n", "middle"))
        before = rung.time_ns
        y += _STEP
        drawn.append(_arrow(rung, y))
    height = y + 50
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{height}" viewBox="0 0 960 {height}">\n'
    yield f'<style>{_STYLE}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n'
    yield '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="9" refY="4" orient="auto">'
    yield '<path d="M0,0 L9,4 L0,8 z" fill="#444"/></marker></defs>\n'
    for x, name in ((_LEFT, client), (_RIGHT, server)):
        yield _text(x, 30, name, "", "middle") + f'<line x1="{x}" y1="42" x2="{x}" y2="{y + 16}"/>\n'
    yield from drawn
    if more:
        yield _text(_LEFT, y + 36, f"{units.counted(more, 'segment')} more", "n", "start")
    yield "</svg>\n"


def _arrow(rung: Rung, y: int) -> str:
    begin, end = (_LEFT, _RIGHT) if rung.is_client else (_RIGHT, _LEFT)
    kind = "b" if rung.marks else DIRECTIONS[0 if rung.is_client else 1][0]
    line = f'<line class="{kind}" x1="{begin}" y1="{y - 6}" x2="{end}" y2="{y}" marker-end="url(#tip)"/>'
    time = _text(_LEFT - 14, y, f"{rung.time_ns / 1e9:.6f}", "n", "end")
    label = _text((_LEFT + _RIGHT) // 2, y - 7, _label(rung), "", "middle")
    remarks = _text(_RIGHT + 14, y, rung.remarks, "m" if rung.marks else "n", "start") if rung.remarks else ""
    return f"{time}{line}{label}{remarks}\n"


def _text(x: int, y: int, words: str, kind: str, anchor: str) -> str:
    words = escape(units.printable(words))
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{words}</text>'
