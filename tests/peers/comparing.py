"""Read a capture, and what peers said of it, and give every difference with its reason."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.peers.case import Case, Difference, differences_with_tshark
from tests.peers.ours import fates_of, read
from tests.peers.reasons import why
from tests.peers.sums import differences_with_tcptrace
from tests.peers.tshark import frames_of


class Source(NamedTuple):
    """A capture, and where the results of peers lie, if they have any."""

    name: str
    capture: Path
    tshark: Path
    tcptrace: Path


class Compared(NamedTuple):
    """A capture and every difference in it, with the class that it belongs to; an empty one is unexplained."""

    case: Case
    differences: dict[Difference, str]


def sources_in(folder: Path) -> Iterator[Source]:
    """Give every capture under ``folder/captures``, and the places of its results under ``folder/peers``."""
    for capture in sorted(folder.glob("captures/**/*")):
        if capture.is_file():
            name = capture.relative_to(folder / "captures").as_posix()
            results = folder / "peers" / name
            yield Source(name, capture, Path(f"{results}.tshark.tsv.xz"), Path(f"{results}.tcptrace.txt.xz"))


def compare(source: Source) -> Compared:
    """Compare what tcpsight makes of a capture with what its peers made of it."""
    theirs, unread = frames_of(_text(source.tshark))
    case = Case(source.name, theirs, unread, read(source.capture))
    lost = (theirs.keys() | unread.keys()) - case.ours.keys()
    if lost and case.reading.frames:
        case.fates = fates_of(source.capture, lost)
    found = differences_with_tshark(case) + differences_with_tcptrace(case, _text(source.tcptrace))
    return Compared(case, {d: why(case, d) for d in found})


def _text(path: Path) -> str:
    return lzma.decompress(path.read_bytes()).decode("utf-8", "replace") if path.is_file() else ""
