"""What two sides said, for people and for programs: as text, in hexadecimal, as JSON, YAML, or as the bytes they are.

What a terminal would obey is written out in text and hexadecimal, whoever reads them; only `raw` has bytes as they
were. Nothing stands in the place of bytes that were not captured but a line that says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from tcpsight.output import units

FORMATS = ("text", "hex", "raw", "json", "yaml")

SIGNS = {"client": ">", "server": "<"}
STYLES = {"client": "36", "server": "35"}
"""Two colours of a terminal, cyan and magenta: they differ for those who cannot tell red from green, too."""

WIDTH = 16

REASONS = {
    "cut_bytes": "cut off at the snapshot length",
    "fragment_bytes": "in IP fragments",
    "text_bytes": "not in the text",
}
"""Why bytes of a segment may lack though it was seen."""


class Piece(Protocol):
    """Some bytes of a stream, or some that are missing: `tcpsight.streams.Block`."""

    @property
    def direction(self) -> str: ...  # noqa: D102
    @property
    def time_ns(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> bytes: ...  # noqa: D102
    @property
    def missing_bytes(self) -> int: ...  # noqa: D102
    @property
    def is_urgent(self) -> bool: ...  # noqa: D102


class Side(NamedTuple):
    """One side of a conversation.

    Attributes
    ----------
    endpoint : str
        Who it is.
    bytes, missing_bytes : int
        What it sent, and how much of that was not captured.
    cut_bytes, fragment_bytes, text_bytes : int
        How much of that is of segments that were seen: frames were cut short, they came in IP fragments, of which no
        payload is kept, or they are lines of text, which has none.
    """

    endpoint: str
    bytes: int
    missing_bytes: int
    cut_bytes: int = 0
    fragment_bytes: int = 0
    text_bytes: int = 0


class Lacking(Protocol):
    """How many bytes lack for each of `REASONS`: `tcpsight.payload.Lacking`, or a `Side`."""

    @property
    def cut_bytes(self) -> int: ...  # noqa: D102
    @property
    def fragment_bytes(self) -> int: ...  # noqa: D102
    @property
    def text_bytes(self) -> int: ...  # noqa: D102


class Difference(NamedTuple):
    """Bytes that were captured more than once, with different content.

    Attributes
    ----------
    direction : str
        ``client`` or ``server``: who sent them.
    offset : int
        Of the first of them.
    kept, other : bytes
        What the blocks have there, and what another frame says.
    frame_number : int
        That other frame.
    """

    direction: str
    offset: int
    kept: bytes
    other: bytes
    frame_number: int


class Dialogue(NamedTuple):
    """A conversation to be written.

    Attributes
    ----------
    connection_id : int
        Its number.
    start_ns : int
        When it began; text tells times after that.
    client, server : Side
        Who speaks.
    blocks : iterable of Piece
        What they said, in order.
    differences : iterable of Difference
        What was captured of it otherwise, too.
    """

    connection_id: int
    start_ns: int
    client: Side
    server: Side
    blocks: Iterable[Piece]
    differences: Iterable[Difference] = ()


def written(dialogue: Dialogue, format: str, *, has_colour: bool = False) -> Iterator[bytes]:
    """Write a conversation, piece by piece.

    Parameters
    ----------
    dialogue : Dialogue
        What was said.
    format : str
        One of `FORMATS`.
    has_colour : bool
        Whether text and hexadecimal have a colour for each side, for a terminal.
    """
    if format == "raw":
        return (block.data for block in dialogue.blocks if block.data)
    if format == "json":
        return _json(dialogue)
    if format == "yaml":
        return _yaml(dialogue)
    return (f"{line}\n".encode() for line in lines(dialogue, is_hex=format == "hex", has_colour=has_colour))


def lines(dialogue: Dialogue, *, is_hex: bool, has_colour: bool = False) -> Iterator[str]:
    """Give the lines of a conversation: who speaks, then each block under a line that says who, when and where."""
    yield f"connection {dialogue.connection_id}"
    for name, side in (("client", dialogue.client), ("server", dialogue.server)):
        yield f"{SIGNS[name]} {name} {side.endpoint}  {sums(side)}"
    if is_headers_only(dialogue):
        yield "only headers were captured: 'tcpdump -s 0' or 'tcpsight capture --payload 65535' record what is said"
    for block in dialogue.blocks:
        text = block_lines(block, dialogue.start_ns, is_hex=is_hex)
        if not has_colour:
            yield from text
            continue
        for line in text:
            yield f"\x1b[{STYLES[block.direction]}m{line}\x1b[0m"


def is_headers_only(dialogue: Dialogue) -> bool:
    """Tell whether frames were cut before their payload, so that not a byte is there."""
    sides = (dialogue.client, dialogue.server)
    return any(side.cut_bytes for side in sides) and all(side.missing_bytes == side.bytes for side in sides)


def block_lines(block: Piece, start_ns: int, *, is_hex: bool) -> Iterator[str]:
    """Give the lines of one block."""
    sign = SIGNS[block.direction]
    after = f"{(block.time_ns - start_ns) / 1e9:.6f} s" if block.time_ns >= 0 else units.UNKNOWN
    if block.missing_bytes:
        yield f"{sign} {after}  offset {block.offset}: {units.counted(block.missing_bytes, 'byte')} not captured"
        return
    urgent = ", urgent" if block.is_urgent else ""
    yield f"{sign} {after}  offset {block.offset}, {units.counted(len(block.data), 'byte')}{urgent}"
    if is_hex:
        yield from (f"{sign}   {line}" for line in hex_lines(block.data, block.offset))
    else:
        yield from (f"{sign}   {line}" for line in text_lines(block.data))


def text_lines(data: bytes) -> Iterator[str]:
    """Give bytes as lines of text in which nothing is obeyed; carriage returns at ends of lines are not shown."""
    text = data.decode("utf-8", "backslashreplace")
    parts = text.split("\n")
    if parts and not parts[-1]:
        parts.pop()
    for part in parts:
        yield units.printable(part.removesuffix("\r").replace("\t", "    "))


def hex_lines(data: bytes, offset: int) -> Iterator[str]:
    """Give bytes in rows of sixteen: offset, hexadecimal, and what is printable ASCII."""
    for at in range(0, len(data), WIDTH):
        row = data[at : at + WIDTH]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{offset + at:08x}  {f'{left}  {right}':<48}  |{text}|"


def sums(side: Side) -> str:
    """Write how much somebody sent, and how much of that was not captured."""
    text = units.counted(side.bytes, "byte")
    if not side.missing_bytes:
        return text
    seen = reasons(side)
    why = f"; of segments that were seen: {seen}" if seen else ""
    return f"{text}, {units.count(side.missing_bytes)} not captured{why}"


def reasons(lacking: Lacking) -> str:
    """Say why bytes of segments lack that were seen, and how many; empty where none do."""
    counts = ((getattr(lacking, name), why) for name, why in REASONS.items())
    return ", ".join(f"{units.count(count)} {why}" for count, why in counts if count)


def _head(dialogue: Dialogue) -> dict[str, Any]:
    return {
        "connection_id": dialogue.connection_id,
        "start_ns": dialogue.start_ns,
        "client": dialogue.client._asdict(),
        "server": dialogue.server._asdict(),
    }


def _block(block: Piece) -> dict[str, Any]:
    return {
        "direction": block.direction,
        "time_ns": block.time_ns if block.time_ns >= 0 else None,
        "offset": block.offset,
        "data": base64.b64encode(block.data).decode("ascii"),
        "missing_bytes": block.missing_bytes,
        "is_urgent": block.is_urgent,
    }


def _difference(each: Difference) -> dict[str, Any]:
    kept, other = (base64.b64encode(data).decode("ascii") for data in (each.kept, each.other))
    return {
        "direction": each.direction,
        "offset": each.offset,
        "frame_number": each.frame_number,
        "kept": kept,
        "other": other,
    }


def _json(dialogue: Dialogue) -> Iterator[bytes]:
    """Give one object, a line for each block."""
    yield (json.dumps(_head(dialogue))[:-1] + ', "blocks": [').encode()
    for number, block in enumerate(dialogue.blocks):
        yield (("," if number else "") + "\n " + json.dumps(_block(block))).encode()
    yield b'], "conflicts": ['
    for number, each in enumerate(dialogue.differences):
        yield (("," if number else "") + "\n " + json.dumps(_difference(each))).encode()
    yield b"]}\n"


def _yaml(dialogue: Dialogue) -> Iterator[bytes]:
    """Give one document of YAML 1.2; bytes are base64 under the tag that says so."""
    for name, value in _head(dialogue).items():
        # A JSON object is a flow mapping of YAML.
        yield f"{name}: {json.dumps(value)}\n".encode()
    yield from _yaml_list("blocks", map(_block, dialogue.blocks), ("data",))
    yield from _yaml_list("conflicts", map(_difference, dialogue.differences), ("kept", "other"))


def _yaml_list(name: str, items: Iterable[dict[str, Any]], binary: tuple[str, ...]) -> Iterator[bytes]:
    yield f"{name}:".encode()
    is_empty = True
    for item in items:
        yield b"\n" if is_empty else b""
        is_empty = False
        sign = "-"
        for key, value in item.items():
            written_value = f'!!binary "{value}"' if key in binary else json.dumps(value)
            yield f"{sign} {key}: {value if key == 'direction' else written_value}\n".encode()
            sign = " "
    if is_empty:
        yield b" []\n"
