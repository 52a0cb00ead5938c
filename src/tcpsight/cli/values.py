"""What people write on a command line, and what it means: durations, instants, sources."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "": 10**9,
    "min": 60 * 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}

STARTS = {
    "ts0": "request_first",
    "ts": "request_last",
    "request_first": "request_first",
    "request_last": "request_last",
}
ENDS = {
    "end": "response_first",
    "end1": "response_last",
    "response_first": "response_first",
    "response_last": "response_last",
}

LATEST_NS = 2**62
"""The year 2116: times of captures are clamped to it, and to its opposite, so that differences never overflow."""

EPOCH_DIGITS = {12: 10**6, 13: 10**6, 15: 10**3, 16: 10**3, 18: 1, 19: 1}
"""Nanoseconds in the unit of a number since 1970 that has so many digits: the shorter ones lie before 2001."""

_DATE = re.compile(r"((?:19|2[01])\d\d)(?:(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{0,9})?|\.\d{1,9})\s*(?:([kmgt])(i)?)?b?")
_EPOCH = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_FRACTION = re.compile(r"(?<=\d)[.,](\d{1,9})\d*")


def duration_ns(text: str) -> int:
    """Read a duration such as ``200ms``, ``1.5s`` or ``2h``; a bare number is seconds."""
    total, end = 0, 0
    cleaned = text.strip().lower()
    for part in _DURATION.finditer(cleaned):
        is_bare = not part[2] and part[0].strip() != cleaned
        if part.start() != end or part[2] not in UNITS_NS or is_bare:
            break
        whole, _, fraction = part[1].partition(".")
        unit = UNITS_NS[part[2]]
        total += int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        end = part.end() + (len(cleaned[part.end() :]) - len(cleaned[part.end() :].lstrip()))
    if not cleaned or end != len(cleaned):
        raise click.BadParameter(f"{text!r} is no duration; write 200ms, 1.5s, 10min or 2h")
    if total >= LATEST_NS:
        raise click.BadParameter(f"{text!r} is longer than any capture")
    return total


def positive_duration_ns(text: str) -> int:
    """Read a duration that is longer than nothing."""
    duration = duration_ns(text)
    if duration <= 0:
        raise click.BadParameter(f"{text!r} is no length: it must be longer than 0")
    return duration


def named_duration_ns(text: str) -> int:
    """Read a duration that is longer than nothing and has its unit: where guessing would do harm."""
    if text.strip().replace(".", "", 1).isdigit():
        raise click.BadParameter(f"{text!r} of what? Write {text.strip()}s or {text.strip()}min")
    return positive_duration_ns(text)


def size_bytes(text: str) -> int:
    """Read a size such as ``100MB``, ``64MiB`` or ``1.5G``; a bare number is bytes."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write 500kB, 100MB, 64MiB or 2GB")
    whole, _, fraction = found[1].partition(".")
    unit: int = (1024 if found[3] else 1000) ** (" kmgt".index(found[2]) if found[2] else 0)
    size = int(whole or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if not 0 < size < 2**62:
        raise click.BadParameter(f"{text!r} is no size: it must be larger than 0, and a disk must have it")
    return size


def interval_ns(text: str) -> int | None:
    """Read ``auto``, which is None, or the length of a slice."""
    return None if text.strip().lower() == "auto" else positive_duration_ns(text)


def fraction(text: str) -> float:
    """Read a share: ``10%``, or ``0.1``."""
    cleaned = text.strip()
    number, scale = (cleaned[:-1], 100) if cleaned.endswith("%") else (cleaned, 1)
    try:
        share = float(number) / scale
    except ValueError:
        share = -1.0
    # A bare 10 would be a thousand percent, which nobody means.
    if not 0 <= share <= (100 if scale == 100 else 1):
        raise click.BadParameter(f"{text!r} is no share; write 10% or 0.1")
    return share


def zone(name: str) -> ZoneInfo:
    """Find a time zone by its IANA name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(f"{name!r} is no time zone; write UTC or a name such as Europe/Berlin") from None


def instant_ns(text: str, timezone: str) -> int:
    """Read an instant: ISO 8601 (in `timezone` unless it names an offset) or seconds since the epoch.

    Whole numbers of 12 or 13 digits are milliseconds, of 15 or 16 microseconds, of 18 or 19 nanoseconds: as seconds
    all of them lie beyond the times that a capture can hold. What looks like a year or a date is refused.

    What lies beyond the times that a capture can hold is the first or the last of them.
    """
    return min(max(_instant_ns(text, timezone), -LATEST_NS), LATEST_NS)


def _instant_ns(text: str, timezone: str) -> int:
    epoch = _EPOCH.fullmatch(text.strip())
    if epoch:
        return _epoch_ns(epoch[1], epoch[2])
    fraction = _FRACTION.search(text)
    whole = _FRACTION.sub("", text, count=1).strip()
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no instant; write 2024-05-01T12:00:00, 2024-05-01T12:00:00.5+02:00 or seconds since 1970"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(timezone))
    return int(moment.timestamp()) * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def _epoch_ns(whole: str, fraction: str | None) -> int:
    """Read a number of seconds, or of what its digits tell."""
    if fraction is not None or len(whole) <= 10:
        seconds = int(whole[:20])
        if fraction is None and (date := _DATE.fullmatch(whole)):
            moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            meant = f"{date[1]}-{date[2] or '01'}-{date[3] or '01'}"
            raise click.BadParameter(f"{whole} would be {moment}; write {meant}, or {whole}.0 for that second")
        return seconds * 10**9 + int((fraction or "").ljust(9, "0"))
    if len(whole) not in EPOCH_DIGITS:
        raise click.BadParameter(
            f"{whole} is no instant: as seconds since 1970 it is beyond every capture; write 2024-05-01T12:00:00, "
            "or as many digits as seconds (10), milliseconds (13), microseconds (16) or nanoseconds (19) have"
        )
    return int(whole) * EPOCH_DIGITS[len(whole)]


def start_end(text: str) -> tuple[str, str]:
    """Read ``START,END`` of the response time; ts0, ts, end and end1 are short names."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or names[0] not in STARTS or names[1] not in ENDS:
        raise click.BadParameter(
            f"{text!r} is no pair START,END: START is request_first (ts0) or request_last (ts), "
            "END is response_first (end) or response_last (end1)"
        )
    return STARTS[names[0]], ENDS[names[1]]


def expanded(sources: tuple[str, ...]) -> list[str]:
    """Expand globs that the shell left alone, remote ones, too."""
    paths: list[str] = []
    for source in sources:
        if not source:
            raise click.UsageError("a SOURCE is empty: name a capture, or - for standard input")
        if source.startswith("file://"):
            paths.append(source.removeprefix("file://"))
        elif "://" in source:
            from tcpsight.capture.remote import matching

            found = matching(source)
            if not found:
                raise click.UsageError(f"no file matches {source!r}")
            paths.extend(found)
        elif glob.has_magic(source) and not Path(source).exists():
            found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute or relative, as the user wrote it
            if not found:
                raise click.UsageError(f"no file matches {source!r}")
            paths.extend(found)
        else:
            paths.append(source)
    return paths


def refuse_output_over_input(output: str, sources: list[str]) -> None:
    """Refuse to write over a capture that is read, by whatever names, links or redirections it is meant twice.

    Raises
    ------
    click.UsageError
        The output is the same regular file as one of the sources.
    """
    written = _identity(output, sys.stdout)
    for source in sources if written is not None else ():
        if _identity(source, sys.stdin) == written:
            raise click.UsageError(f"the output {output!r} is the input {source!r}: the capture would be lost")


def _identity(path: str, standard: TextIO | None) -> tuple[int, int] | None:
    """Give device and inode of a regular file; `standard` is what ``-`` means. None for anything else."""
    try:
        if path == "-":
            status = os.fstat(standard.fileno()) if standard is not None else None
        else:
            status = Path(path).stat()
    except (OSError, ValueError):
        return None  # what cannot be opened is told where it is opened
    return (status.st_dev, status.st_ino) if status is not None and stat.S_ISREG(status.st_mode) else None
