"""What callers hand to the library: captures, services, lengths of time."""

from __future__ import annotations

import io
import operator
import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from tcpsight.batches import LEFT_OUT
from tcpsight.endpoints import parse_server
from tcpsight.errors import UsageError
from tcpsight.requests import ENDS, STARTS

if TYPE_CHECKING:
    from tcpsight.connections import Server

Source = str | os.PathLike[str] | BinaryIO

LONGEST_NS = 2**62
"""No capture lasts as long: times of captures are clamped to it."""

MOST_WORKERS = 256
"""Connections live in so many shares, and none is divided."""

USUAL_WORKERS = 3
"""With more, connections have to be shared out, which costs half as much CPU again: for who asks for it."""

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z\u00b5\u03bc]*)\s*", re.ASCII | re.IGNORECASE)
_SHOWN = 60


def captures(sources: Iterable[object]) -> list[Source]:
    """Take the files of a capture: paths, ``-`` and binary files, or lists of them.

    Raises
    ------
    UsageError
        If something else is among them, or nothing is.
    """
    found = list(_flat(sources))
    if not found:
        raise UsageError("no capture was named")
    return found


def _flat(sources: Iterable[object]) -> Iterator[Source]:
    for source in sources:
        if isinstance(source, list | tuple):
            yield from _flat(source)
        elif isinstance(source, io.TextIOBase):
            raise UsageError(f"{_shown(source)} is open as text: open it with mode 'rb'")
        elif isinstance(source, str | os.PathLike) or callable(getattr(source, "read", None)):
            yield source  # type: ignore[misc]
        else:
            raise UsageError(f"{_shown(source)} is no capture: name a file, '-', or give a file opened with mode 'rb'")


def services(servers: object) -> tuple[Server, ...]:
    """Read ``[ADDRESS]:PORT`` of one service, or of several.

    Raises
    ------
    UsageError
        If one of them makes no sense.
    """
    several = [servers] if isinstance(servers, str) else servers
    if not isinstance(several, Iterable):
        raise UsageError(f"{_shown(servers)} is no server: write ':3306' or ['10.0.0.1:3306', ':5432']")
    texts = list(several)
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{_shown(text)} is no server: write ':3306' or ['10.0.0.1:3306', ':5432']")
    return tuple(parse_server(text) for text in texts)


def start_and_end(given: object) -> tuple[str, str]:
    """Take the two instants between which response time runs.

    Raises
    ------
    UsageError
        If they are not one of those where it can start and one of those where it can end.
    """
    if isinstance(given, tuple | list) and len(given) == 2 and given[0] in STARTS and given[1] in ENDS:
        return given[0], given[1]
    raise UsageError(f"start_end is {_shown(given)}: give one of {', '.join(STARTS)}, and one of {', '.join(ENDS)}")


def kinds_of_requests(given: object) -> tuple[str, ...]:
    """Take which requests are left out.

    Raises
    ------
    UsageError
        If there are none of a kind.
    """
    kinds = [given] if isinstance(given, str) else given
    if not isinstance(kinds, Iterable):
        raise UsageError(f"leave_out is {_shown(given)}: give some of {', '.join(LEFT_OUT)}")
    chosen = tuple(dict.fromkeys(kinds))
    for kind in chosen:
        if kind not in LEFT_OUT:
            raise UsageError(f"there are no requests of kind {_shown(kind)}: give some of {', '.join(LEFT_OUT)}")
    return chosen


def worker_count(given: object) -> int:
    """Take how many workers follow connections; None: one for each processor that this process may use.

    Raises
    ------
    UsageError
        If it is no number from 1 to 256.
    """
    if given is None:
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(usable, USUAL_WORKERS)
    try:
        count = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if not 1 <= count <= MOST_WORKERS:
        raise UsageError(f"workers is {_shown(given)}: give a number from 1 to {MOST_WORKERS}")
    return count


def instant_ns(name: str, given: object) -> int | None:
    """Take an instant: nanoseconds since the Unix epoch, or None.

    Raises
    ------
    UsageError
        If it is none.
    """
    if given is None:
        return None
    try:
        return operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"{name} is {_shown(given)}: give nanoseconds since 1970, an integer") from None


def slice_ns(name: str, given: object) -> int:
    """Take the length of a slice of time: nanoseconds, or text such as ``"1.5s"`` or ``"2min30s"``.

    Raises
    ------
    UsageError
        If it is none, or not longer than 0.
    """
    if isinstance(given, str):
        length_ns = _duration_ns(name, given)
    else:
        try:
            length_ns = operator.index(given)  # type: ignore[arg-type]
        except TypeError:
            raise UsageError(f"{name} is {_shown(given)}: give nanoseconds, an integer, or text like '1.5s'") from None
    if length_ns < 1:
        raise UsageError(f"{name} is {_shown(given)}: a slice must be longer than 0")
    if length_ns >= LONGEST_NS:
        raise UsageError(f"{name} is {_shown(given)}: longer than any capture")
    return length_ns


def _duration_ns(name: str, text: str) -> int:
    from fractions import Fraction

    from tcpsight.where.literals import DURATIONS

    total, at, cleaned = Fraction(0), 0, text.strip().lower()
    for part in _DURATION.finditer(cleaned[:_SHOWN]):
        # As on the command line, a number alone is seconds; of several pieces each has its unit.
        unit = part[2] or ("s" if part[0] == cleaned else "")
        if part.start() != at or unit not in DURATIONS:
            break
        total += Fraction(part[1]) * DURATIONS[unit]
        at = part.end()
    if not cleaned or at != len(cleaned):
        raise UsageError(f"{name} is {_shown(text)}: write 200ms, 1.5s, 10min or 2h")
    return int(total)


def _shown(given: object) -> str:
    """Write a value on one line, however long it is."""
    text = " ".join(ascii(given).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def position_of(source: Source) -> int | None:
    """Tell where an open file stands; None for a path and for what cannot go back."""
    if isinstance(source, str | os.PathLike) or not source.seekable():
        return None
    return source.tell()
