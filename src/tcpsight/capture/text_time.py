"""The times of tcpdump's text: a date and a time of day, or seconds since the epoch, to nanoseconds.

Consecutive lines mostly share their second, so the last second is remembered. Local times that
occur twice (clocks set back) are taken as the first of the two, unless that would go back in time by
more than a minute; local times that never occurred (clocks set forward) are taken as they would have
been without the change. A time zone that the machine does not know is a `UsageError`; ``local`` is the machine's own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tcpsight.capture.reader import TIME_LIMIT_NS
from tcpsight.errors import UsageError

NS_PER_SECOND = 1_000_000_000
NS_OF_DIGITS: tuple[int, ...] = tuple(10 ** (9 - digits) for digits in range(10))
"""What one unit of a fraction of so many digits is worth."""

DISORDER_NS = 60 * NS_PER_SECOND
"""Lines are not further out of order than this; a local time that goes back further is in its second hour."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTimeZone(tzinfo):
    """The machine's own time zone, whatever names it: the variable TZ or a file."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """Give how far local time is ahead of UTC at a local time."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        """Give nothing: which part of it is daylight saving is not asked."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        """Give the name that stands for it."""
        return LOCAL


LOCAL = "local"


def time_zone(name: str) -> tzinfo:
    """Give the time zone of an IANA name, or the machine's own for ``local``.

    Raises
    ------
    UsageError
        There is no such zone, or the machine has no table of zones.
    """
    if name.upper() in {"UTC", "Z"}:
        return UTC
    if name == LOCAL:
        return LocalTimeZone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"unknown time zone {name!r}: an IANA name such as Europe/Berlin is wanted") from error


class TextClock:
    """Turn the printed times of one file into nanoseconds since the Unix epoch.

    Parameters
    ----------
    zone : tzinfo
        The zone of times printed with a date.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._last_text = b""
        self._last_ns = 0

    def dated(self, second: bytes, fraction: bytes) -> int | None:
        """Give the instant of ``YYYY-MM-DD HH:MM:SS`` and the digits after the point; None if there is no such date."""
        if second != self._last_text:
            ns = self._second(second)
            if ns is None:
                return None
            self._last_text, self._last_ns = second, ns
        return _clamped(self._last_ns + _fraction_ns(fraction))

    def epoch(self, second: bytes, fraction: bytes) -> int:
        """Give the instant of seconds since the epoch and the digits after the point."""
        return _clamped(int(second) * NS_PER_SECOND + _fraction_ns(fraction))

    def _second(self, text: bytes) -> int | None:
        try:
            # A leap second is printed as :60; it is the first second of the next minute here, as in the epoch.
            leap = text.endswith(b":60")
            local = datetime.fromisoformat((text[:-2] + b"59" if leap else text).decode("ascii"))
        except ValueError:
            return None
        local = local.replace(tzinfo=self._zone)
        try:
            seconds = _since_epoch(local)
            if seconds * NS_PER_SECOND < self._last_ns - DISORDER_NS:
                later = _since_epoch(local.replace(fold=1))
                if later * NS_PER_SECOND <= self._last_ns + 3600 * NS_PER_SECOND:
                    seconds = later
        except OverflowError:
            return None
        return (seconds + leap) * NS_PER_SECOND


def _since_epoch(local: datetime) -> int:
    return (local.astimezone(UTC) - _EPOCH) // timedelta(seconds=1)


def _fraction_ns(digits: bytes) -> int:
    return int(digits[:9]) * NS_OF_DIGITS[min(len(digits), 9)]


def _clamped(ns: int) -> int:
    return max(-TIME_LIMIT_NS, min(TIME_LIMIT_NS, ns))
