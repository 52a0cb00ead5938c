"""Numbers for people: durations, sizes, rates, counts and instants, three significant digits each.

Machine formats never come here. Unknown (None, NaN) is an en dash everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

UNKNOWN = "–"
"""What stands for an unknown value in text."""

NARROW_SPACE = "\u202f"
"""Between groups of three digits: narrow, and never a line break."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("", "k", "M", "G", "T", "P")


def duration(nanoseconds: float | None) -> str:
    """Write a duration: ``17 ns``, ``450 µs``, ``1.23 ms``, ``59.9 s``, ``1 min 30 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if _is_unknown(nanoseconds):
        return UNKNOWN
    assert nanoseconds is not None
    if nanoseconds < 0:
        return "−" + duration(-nanoseconds)
    if math.isinf(nanoseconds):
        return "∞"
    value: float = nanoseconds
    for unit in ("ns", "µs", "ms", "s"):
        limit = 60 if unit == "s" else 1000
        text = f"{value:.0f}" if unit == "ns" and value == int(value) else three_digits(value)
        # Compared after rounding: 999.7 µs is 1.00 ms, and 59.97 s a minute.
        if float(text) < limit:
            return f"{text} {unit}"
        value /= 1000
    return _long_duration(nanoseconds)


def plain_ticks(nanoseconds: float) -> str:
    """Write a duration at the tick of an axis, without zeros that say nothing: ``5 µs``, ``1 ms``, ``0.1 ns``."""
    if nanoseconds < 1:
        return f"{nanoseconds:g} ns"
    text = re.sub(r"(\.\d*?)0+ ", r"\1 ", duration(nanoseconds)).replace(". ", " ")
    return re.sub(r" 0 (s|min|h)$", "", text) if nanoseconds >= _MINUTE_NS else text


_MINUTE_NS = 60 * 10**9
_DAY_NS = 24 * 3600 * 10**9

# Beyond a minute people count in sixties, and beyond a day in days: for axes of many decades, of some, and of few.
_LONG_TICKS_S = {
    1: (60, 600, 3600, 36_000),
    3: (60, 120, 300, 600, 1200, 3600, 7200, 18_000, 36_000),
    7: (60, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2400, 3600, 7200, 10_800, 14_400, 18_000, 25_200, 36_000),
}


def duration_ticks(low_ns: float, high_ns: float) -> list[float]:
    """Choose ticks of a logarithmic axis of durations: powers of ten, and between them more the fewer there are."""
    decades = math.log10(high_ns / low_ns)
    steps = (1.0,) if decades > 4 else (1.0, 2.0, 5.0) if decades > 1 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    powers = range(math.floor(math.log10(low_ns)), 11)
    ticks = [step * 10.0**power for power in powers for step in steps if step * 10.0**power < _MINUTE_NS]
    ticks += [seconds * 1e9 for seconds in _LONG_TICKS_S[len(steps)]]
    ticks += [step * 10.0**power * _DAY_NS for power in range(len(steps) == 1, 6) for step in steps]
    return [each for each in ticks if low_ns * (1 - 1e-9) <= each <= high_ns * (1 + 1e-9)]


def _long_duration(nanoseconds: float) -> str:
    """Write a minute or more as its two largest units, rounded to the smaller of them."""
    for large, small, limit in (("min", "s", 3_600), ("h", "min", 86_400), ("d", "h", math.inf)):
        step = _SECONDS[small]
        seconds = (int(nanoseconds) + step * 500_000_000) // (step * 1_000_000_000) * step
        text = f"{seconds // _SECONDS[large]} {large} {seconds % _SECONDS[large] // step} {small}"
        # Compared after rounding: 59 min 59.7 s is 1 h 0 min.
        if seconds < limit:
            return text
    return text


def size(byte_count: float | None) -> str:
    """Write a number of bytes: ``512 B``, ``1.50 KiB``, ``20.0 MiB``."""
    return _scaled(byte_count, 1024, _BINARY)


def bit_rate(bits_per_second: float | None) -> str:
    """Write a rate of bits: ``960 bit/s``, ``12.3 Mbit/s``."""
    return _scaled(bits_per_second, 1000, [f"{prefix}bit/s" for prefix in _DECIMAL])


def rate(per_second: float | None) -> str:
    """Write how many a second: ``0.25/s``, ``123/s``, ``12.3 k/s``."""
    text = _scaled(per_second, 1000, [f"{prefix}/s" for prefix in _DECIMAL])
    return text.replace(" /s", "/s")


def count(number: float | None) -> str:
    """Write a whole number with its digits in groups of three: ``1 234 567``."""
    if _is_unknown(number):
        return UNKNOWN
    assert number is not None
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{round(number):,d}".replace(",", NARROW_SPACE).replace("-", "−")


def counted(number: float, one: str, many: str | None = None) -> str:
    """Write how many there are of something: ``1 request``, ``1 234 requests``."""
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"


def fraction(value: float | None) -> str:
    """Write a share between 0 and 1 in percent: ``12.3 %``."""
    if _is_unknown(value):
        return UNKNOWN
    assert value is not None
    return f"{number(100 * value)} %"


def number(value: float | None) -> str:
    """Write a number without a unit: whole ones as they are, others with three significant digits."""
    if _is_unknown(value):
        return UNKNOWN
    assert value is not None
    if 1e15 <= abs(value) < math.inf:
        return f"{value:.2e}".replace("-", "−")
    if math.isinf(value) or value == int(value) or abs(value) >= 999.5:
        return count(value)
    return ("−" if value < 0 else "") + three_digits(abs(value))


def instant(epoch_ns: int | None, timezone: tzinfo | None = None, *, digits: int = 6) -> str:
    """Write an instant: ``2024-01-01T00:00:00.000001Z``, or in a time zone ``2024-01-01T01:00:00.000001+01:00``.

    Parameters
    ----------
    epoch_ns : int, optional
        Nanoseconds since the Unix epoch.
    timezone : tzinfo, optional
        Where the reader's clock hangs; UTC by default.
    digits : int
        Digits after the second, 0 to 9; what is finer is cut off.
    """
    if epoch_ns is None:
        return UNKNOWN
    seconds, nanoseconds = divmod(int(epoch_ns), 1_000_000_000)
    second, offset = _second(seconds, timezone or UTC)
    decimals = f".{nanoseconds:09d}"[: digits + 1] if digits else ""
    return f"{second}{decimals}{offset}"


# Neighbouring rows share their seconds, and calendars are slow.
@lru_cache(1024)
def _second(seconds: int, timezone: tzinfo) -> tuple[str, str]:
    """Give date and time, and the offset from UTC. All of int64 lies between the years 1677 and 2262."""
    local = (_EPOCH + timedelta(seconds=seconds)).astimezone(timezone)
    text = local.isoformat()
    return text[:19], "Z" if local.tzname() == "UTC" else text[19:]


def three_digits(value: float) -> str:
    """Write a number from 0 up with three significant digits: ``0.00123``, ``1.23``, ``12.3``, ``123``, ``1230``."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    decimals = 2 - math.floor(math.log10(rounded))
    return f"{rounded:.{min(max(decimals, 0), 12)}f}"


def _scaled(value: float | None, base: int, units: Sequence[str]) -> str:
    if _is_unknown(value):
        return UNKNOWN
    assert value is not None
    if value < 0:
        return "−" + _scaled(-value, base, units)
    if math.isinf(value):
        return f"∞ {units[0]}"
    scaled = value
    for position in range(len(units)):
        # From 1000 to 1023 four digits, and bytes are whole unless they are a mean.
        is_whole = scaled >= 999.5 or (position == 0 and scaled == int(scaled))
        text = f"{scaled:.0f}" if is_whole else three_digits(scaled)
        # Compared after rounding: 1023.9 KiB is 1.00 MiB.
        if float(text) < base or position == len(units) - 1:
            break
        scaled /= base
    return f"{text} {units[position]}"


def _is_unknown(value: float | None) -> bool:
    return value is None or value != value


def endpoint(address: str, port: int) -> str:
    """Write an endpoint: ``10.0.0.1:80``, ``[::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def reason_text(meaning: str, number: int, furthest_back_ns: int | None = None) -> str:
    """Write what a row of `Unseen` means, of one or of many, and how far times went back at most where they did."""
    text = singular(meaning) if number == 1 else meaning
    if not furthest_back_ns or furthest_back_ns < 0:
        return text
    return f"{text}, by {'' if number == 1 else 'up to '}{duration(furthest_back_ns)}"


def singular(text: str) -> str:
    """Write the meaning of a reason for one of it: ``frame that is not IP`` of ``frames that are not IP``."""
    for many, one in _SINGULAR:
        text = re.sub(many, one, text, count=1)
    return text


_SINGULAR = (
    (r"^((?:IP )?\w+)s\b", r"\1"),
    (r"^((?:IP )?\w+) that are\b", r"\1 that is"),
    (r"\bthat were\b", "that was"),
    (r"\bin streams\b", "in a stream"),
    (r"\btheir stream\b", "its stream"),
    (r"\b(before|in) them$", r"\1 it"),
)


def printable(text: str) -> str:
    r"""Write text that came from a capture so that no terminal obeys it: control and format characters as ``\x1b``.

    Beyond ASCII it is ``\u009b``: ``\x9b`` is what is written for a byte that is no text.
    """
    if text.isprintable():
        return text
    # The space that groups digits is no danger to anybody.
    return "".join(c if c.isprintable() or c == NARROW_SPACE else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if 0x80 <= number < 0x100 else character.encode("unicode_escape").decode()
