"""Tables of concurrency and throughput, as people and other programs write them; and how to know one from a capture.

A line is a point: numbers apart by blanks, tabs, commas or semicolons. Comments begin with #, the first line may name
the columns. Concurrency is the column of such a name, else the first, throughput the second; one that is called a time
is taken last. Where columns have no names and the first is a time, it is refused with what to say instead. Intervals
that this program wrote, as CSV or Parquet, are such tables too, and know when and how long each slice was.

Every number is checked: the line of one that makes no sense is named. Lines and files are bounded.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from tcpsight.errors import TcpsightError, UsageError

MOST_POINTS = 100_000
TOO_MANY = f"more than {MOST_POINTS:,} points; give means of longer intervals"
LONGEST_LINE = 10_000
MOST_PARQUET_BYTES = 256 << 20
HEAD_BYTES = 65_536
PARQUET = b"PAR1"

SMALLEST, LARGEST = 1e-12, 1e15
"""No concurrency or throughput but 0 is smaller or larger: beyond, squares lose their digits."""

CONCURRENCY_NAMES = (
    "concurrency",
    "concurrent",
    "conc",
    "n",
    "size",
    "nodes",
    "load",
    "processors",
    "clients",
    "threads",
    "users",
    "connections",
    "sessions",
)
THROUGHPUT_NAMES = ("throughput_per_s", "throughput", "tput", "x", "c", "tps", "qps", "rps", "rate")

TIME_NAMES = (
    "time",
    "timestamp",
    "ts",
    "datetime",
    "date",
    "instant",
    "epoch",
    "when",
    "start",
    "begin",
    "end",
    "start_time",
    "end_time",
    "start_ns",
    "end_ns",
    "length_ns",
    "elapsed",
    "second",
    "seconds",
    "minute",
    "hour",
    "day",
)

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?|\d{1,2}:\d\d(:\d\d.*)?")
_LEAST_EPOCH = 1e8
"""Seconds since 1970, in 1973: no concurrency is so high."""

_SEPARATORS = re.compile(r"[\s,;]+")
_SHOWN = 40


@dataclass(slots=True)
class PointTable:
    """What a table holds.

    Attributes
    ----------
    name : str
        The file.
    concurrency, throughput_per_s : list of float
        The points.
    start_ns : list of int
        When each slice began; empty where the table does not tell.
    lengths_s : list of float
        How long each was; empty where the table does not tell.
    idle, partial : int
        How many lines had no concurrency, or were of slices that are not whole: both are left out.
    """

    name: str
    concurrency: list[float] = field(default_factory=list)
    throughput_per_s: list[float] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    lengths_s: list[float] = field(default_factory=list)
    idle: int = 0
    partial: int = 0


@dataclass(frozen=True, slots=True)
class _Places:
    """Which columns hold what; -1 for none."""

    n: int = 0
    x: int = 1
    start: int = -1
    length: int = -1
    partial: int = -1
    gap: int = -1
    keys: tuple[int, ...] = ()
    is_named: bool = False


def is_table(head: bytes, *, is_likely: bool = False, is_whole: bool = True) -> bool | None:
    """Tell from the first bytes of a file whether it is a table of points and not a capture.

    Parameters
    ----------
    head : bytes
        Its beginning.
    is_likely : bool
        Whether any text will do.
    is_whole : bool
        Whether no more of it can be had; its last line may be cut otherwise.

    Returns
    -------
    bool or None
        None where more of it must be seen.
    """
    if head.startswith(PARQUET):
        return True
    text = _text(head)
    if text is None:
        return False
    has_all = is_whole or len(head) >= HEAD_BYTES
    lines = text.splitlines(keepends=True)
    if lines and not (is_whole or lines[-1].endswith("\n")) and (len(lines) > 1 or not has_all):
        lines.pop()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if is_likely:
        return True if lines or has_all else None
    return _begins_points(lines[:2], has_all=has_all)


def _begins_points(lines: Sequence[str], *, has_all: bool) -> bool | None:
    """Tell whether one of the first two lines is a point; only names of columns may stand before it."""
    places = _Places()
    for line in lines:
        words = _words(line)
        if max(places.n, places.x) < len(words) and _is_number(words[places.n]) and _is_number(words[places.x]):
            return True
        named = _named(words, None)
        if named is None:
            return False
        places = named
    return False if has_all or len(lines) > 1 else None


def read(file: BinaryIO, name: str, columns: Sequence[str] | None = None) -> PointTable:
    """Read a table.

    Parameters
    ----------
    file : binary file
        It is read to its end, or to its first nonsense.
    name : str
        What errors call it.
    columns : sequence of str, optional
        Concurrency and throughput, by name or by number from 1.

    Raises
    ------
    TcpsightError
        A line is no point, or there are too many.
    UsageError
        There is no such column.
    """
    head = file.read(len(PARQUET))
    if head == PARQUET:
        data = head + file.read(MOST_PARQUET_BYTES)
        if len(data) > MOST_PARQUET_BYTES:
            raise TcpsightError(f"{name}: larger than {MOST_PARQUET_BYTES >> 20} MiB: no table of points")
        return _taken(name, _parquet_rows(data, name), columns)
    return _taken(name, _text_rows(file, name, head), columns)


def _taken(name: str, rows: Iterator[tuple[int, list[str]]], columns: Sequence[str] | None) -> PointTable:
    table = PointTable(name)
    first = next(rows, None)
    if first is None:
        raise TcpsightError(f"{name}: holds no points")
    places = _places(first[1], columns, name)
    if not _is_header(first[1]):
        rows = itertools.chain([first], rows)
    services: set[tuple[str, ...]] = set()
    for line, words in rows:
        services.add(tuple(words[place] for place in places.keys if place < len(words)))
        if len(services) > 1:
            raise TcpsightError(f"{name}: line {line}: the rows are of several services or clients; give those of one")
        _take(table, places, line, words)
        if len(table.concurrency) > MOST_POINTS:
            raise TcpsightError(
                f"{name}: line {line}: more than {MOST_POINTS:,} points; give means of longer intervals"
            )
    if not (table.concurrency or table.idle or table.partial):
        raise TcpsightError(f"{name}: holds no points")
    return table


def _take(table: PointTable, places: _Places, line: int, words: list[str]) -> None:
    if _flag(words, places.partial) or _flag(words, places.gap):
        table.partial += 1
        return
    if not places.is_named and len(words) > 1:
        _refuse_time(table.name, line, words)
    n = _number(table.name, line, words, places.n, "concurrency")
    x = _number(table.name, line, words, places.x, "throughput")
    if n == 0:
        table.idle += 1
        return
    table.concurrency.append(n)
    table.throughput_per_s.append(x)
    if places.start >= 0:
        start = _number(table.name, line, words, places.start, "start_ns", most=2.0**63)
        length = _number(table.name, line, words, places.length, "length_ns", most=2.0**63) / 1e9
        if length <= 0:
            raise TcpsightError(f"{table.name}: line {line}: a slice of no length")
        table.start_ns.append(int(start))
        table.lengths_s.append(length)


def _refuse_time(name: str, line: int, words: list[str]) -> None:
    """Say what to do where columns have no names and the first one is a time."""
    first = words[0].strip("\"'")
    count, shown = len(words), ascii(first[:_SHOWN])
    # Where it may be a concurrency after all, one with an exponent is none that a clock wrote.
    is_epoch = _is_number(first) and _LEAST_EPOCH <= float(first) < math.inf and (count > 2 or "e" not in first.lower())
    if _INSTANT.fullmatch(first) or is_epoch:
        if count == 2:
            what = "the table holds times and one other column; concurrency is missing"
            raise TcpsightError(f"{name}: line {line}: {shown} is a time: {what}")
        raise TcpsightError(
            f"{name}: line {line}: {shown} is a time, no concurrency; say which of the {count} columns hold "
            f"concurrency and throughput, as --columns {count - 1},{count}, or name them in the first line"
        )


def _number(name: str, line: int, words: list[str], place: int, what: str, most: float = LARGEST) -> float:
    if place >= len(words):
        columns = "1 column" if len(words) == 1 else f"{len(words)} columns"
        raise TcpsightError(f"{name}: line {line}: {columns}, but {what} is number {place + 1}")
    word = words[place]
    shown = ascii(word if len(word) <= _SHOWN else word[:_SHOWN] + "...")
    if not _is_number(word):
        raise TcpsightError(f"{name}: line {line}: {shown} is no number; {what} is expected there")
    value = float(word)
    if not math.isfinite(value) or value > most or 0 < value < SMALLEST:
        raise TcpsightError(f"{name}: line {line}: {shown} is no {what} that anything has")
    if value < 0:
        raise TcpsightError(f"{name}: line {line}: {shown}: {what} cannot be negative")
    return value


def _places(first: list[str], columns: Sequence[str] | None, name: str) -> _Places:
    """Find the columns by the first line, which may name them."""
    if columns is not None:
        n, x = (_place(first, column, name) for column in columns)
        return _Places(n, x, is_named=True)
    return _named(first, None) or _Places()


def _place(first: list[str], column: str, name: str) -> int:
    lowered = [word.lower() for word in first]
    if column.lower() in lowered:
        return lowered.index(column.lower())
    if column.isascii() and column.isdigit() and 0 < int(column[:9]) <= len(first):
        return int(column[:9]) - 1
    raise UsageError(f"{name}: there is no column {column!r}; there are {len(first)}: {' '.join(first)[:200]}")


def _named(words: Sequence[str], default: _Places | None) -> _Places | None:
    """Find columns by their names; None where the words are numbers."""
    if any(_is_number(word) for word in words) or len(words) < 2:
        return default
    lowered = [word.strip("\"'").lower() for word in words]
    n = next((lowered.index(each) for each in CONCURRENCY_NAMES if each in lowered), None)
    x = next((lowered.index(each) for each in THROUGHPUT_NAMES if each in lowered), None)
    free = [i for i in range(len(words)) if i not in (n, x)]
    # What is called a time comes last: it is taken where nothing else is left.
    free.sort(key=lambda i: lowered[i] in TIME_NAMES)
    n = free.pop(0) if n is None else n
    x = free.pop(0) if x is None else x
    is_ours = {"start_ns", "length_ns", "concurrency", "throughput_per_s"} <= set(lowered)
    start, length, partial, gap = (lowered.index(each) if is_ours and each in lowered else -1 for each in _OURS)
    keys = tuple(i for i, word in enumerate(lowered) if is_ours and word in _KEYS)
    return _Places(n, x, start, length, partial, gap, keys, is_named=True)


_OURS = ("start_ns", "length_ns", "is_partial", "is_gap")
_KEYS = ("server_address", "server_port", "client_address")


def _is_header(words: list[str]) -> bool:
    return not any(_is_number(word) for word in words)


def _flag(words: list[str], place: int) -> bool:
    return 0 <= place < len(words) and words[place].lower() in ("1", "true")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word and word.isascii()


def _words(line: str) -> list[str]:
    stripped = line.strip()
    # Empty cells of a CSV keep their place.
    if "," in stripped:
        return [word.strip() for word in stripped.split(",")]
    return _SEPARATORS.split(stripped)


def _text(data: bytes) -> str | None:
    """Give text without control characters, or None."""
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in data):
        return None
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def _text_rows(file: BinaryIO, name: str, head: bytes) -> Iterator[tuple[int, list[str]]]:
    """Give the words of each line that is no comment, with its number."""
    for number, line in enumerate(_lines(file, head), 1):
        if len(line) > LONGEST_LINE:
            raise TcpsightError(f"{name}: line {number}: longer than {LONGEST_LINE:,} bytes: no table of points")
        text = _text(line)
        if text is None:
            raise TcpsightError(f"{name}: line {number}: control characters: no table of points")
        text = text.partition("#")[0]
        if text.strip():
            yield number, _words(text)


def _lines(file: BinaryIO, head: bytes) -> Iterator[bytes]:
    """Give the lines of a file whose first bytes were read; of one that is too long what is enough to see that."""
    held = head
    while chunk := file.read(HEAD_BYTES):
        *lines, held = (held + chunk).split(b"\n")
        yield from lines
        if len(held) > LONGEST_LINE:
            break
    if held:
        yield from held.split(b"\n")  # of so short a file nothing was split yet


def _parquet_rows(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > 2 * MOST_POINTS:
            raise TcpsightError(f"{name}: {TOO_MANY}")
        table = file.read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise TcpsightError(f"{name}: no Parquet that can be read: {' '.join(str(error).split())[:200]}") from None
    yield 1, list(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    for i in range(table.num_rows):
        yield i + 2, ["" if column[i] is None else str(column[i]) for column in columns]
