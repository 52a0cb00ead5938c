"""Gives each value of a condition the meaning that its column asks for.

Numbers become fractions, so that ``0.1s`` is exactly 100,000,000 ns.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.where.tokens import Token, failure, nearest

if TYPE_CHECKING:
    from tcpsight.errors import UsageError
    from tcpsight.tables import Column

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Value = Fraction | bool | bytes | Network
"""What a column is compared with: a number, truth, text, or the addresses of a network."""

# µ is two characters: the sign of old keyboards, and the Greek letter.
DURATIONS = {
    "ns": 1, "us": 10**3, "\u00b5s": 10**3, "\u03bcs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9,
}  # fmt: skip
SIZES = (
    {"b": 1}
    | {f"{p}b": 1000**i for i, p in enumerate("kmgt", 1)}
    | {f"{p}ib": 1024**i for i, p in enumerate("kmgt", 1)}
)
BIT_RATES = {f"{p}bit/s": Fraction(1000) ** i for i, p in enumerate(("", "k", "m", "g"))}

_NUMBER = r"\d[\d_]*(?:\.\d*)?|\.\d+"
_PLAIN = re.compile(rf"([+-]?)({_NUMBER})(?:e([+-]?\d{{1,3}}))?", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"0x[0-9a-f]{1,16}", re.IGNORECASE)
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*([a-z\u00b5\u03bc/]+)", re.IGNORECASE)
_DIGITS = 40
"""Characters of a number: more digits than any column holds."""

_FRACTION_OF_SECOND = re.compile(r"(?<=\d)[.,](\d{1,9})\d*")


def value_for(column: Column, token: Token, *, has_whole_name: bool) -> Value:
    """Read a value as the column asks for.

    Parameters
    ----------
    column : Column
        What it will be compared with.
    token : Token
        The value.
    has_whole_name : bool
        Whether the condition names the column in full; without its unit a bare number says nothing.

    Raises
    ------
    UsageError
        If it is no such value.
    """
    if column.is_address:
        return _network(column, token)
    if column.is_boolean:
        return _truth(column, token)
    if column.names is not None:
        return _index(column, token, column.names)
    if np.dtype(column.dtype).kind == "S":
        return _bytes(column, token)
    return number_for(column, token, has_whole_name=has_whole_name)


def is_unit(text: str) -> bool:
    """Tell whether a word may stand behind a number."""
    key = text.lower()
    return key in DURATIONS or key in SIZES or key in BIT_RATES


def is_bare_number(text: str) -> bool:
    """Tell whether a word is a number that may still have a unit behind it."""
    return re.fullmatch(_NUMBER, text, re.ASCII) is not None


def _network(column: Column, token: Token) -> Network:
    # A zone (fe80::1%eth0) names an interface of this machine, not of the captured one.
    try:
        return ipaddress.ip_network(token.text if "%" not in token.text else "", strict=False)
    except ValueError:
        hint = "write 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32 (names are not looked up)"
        raise failure(token.start, f"{token.shown} is no address; {hint}") from None


def _truth(column: Column, token: Token) -> bool:
    if token.key in ("true", "1", "false", "0"):
        return token.key in ("true", "1")
    raise failure(token.start, f"{column.name!r} is true or false, not {token.shown}")


def _index(column: Column, token: Token, names: tuple[str, ...]) -> Fraction:
    if token.text not in names:
        raise failure(token.start, f"{column.name!r} is never {token.shown}; {nearest(token.text, names)}")
    return Fraction(names.index(token.text))


def _bytes(column: Column, token: Token) -> bytes:
    try:
        return token.text.encode()
    except UnicodeEncodeError:
        raise failure(token.start, f"{column.name!r} is text, not {token.shown}") from None


def number_for(column: Column, token: Token, *, has_whole_name: bool) -> Fraction:
    """Read a number in the unit of a column; see `value_for`."""
    units = {"ns": DURATIONS, "B": SIZES, "bit/s": BIT_RATES}.get(column.unit, {})
    if column.unit == "epoch ns" and token.kind == "quoted":
        return _instant(token)
    if len(token.text) > _DIGITS:
        raise failure(token.start, f"{token.shown} has too many digits")
    plain = _plain(token.text)
    if plain is not None:
        if not has_whole_name:
            raise failure(token.start, f"{token.shown} of what? {_example(column)}; or name the column {column.name!r}")
        return plain
    return _with_units(column, token, units)


def _plain(text: str) -> Fraction | None:
    if _HEX.fullmatch(text):
        return Fraction(int(text, 16))
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    size = Fraction(match[2].replace("_", "")) * Fraction(10) ** int(match[3] or 0)
    return -size if match[1] == "-" else size


def _with_units(column: Column, token: Token, units: dict[str, int] | dict[str, Fraction]) -> Fraction:
    total, at = Fraction(0), 0
    for part in _WITH_UNIT.finditer(token.text):
        unit = part[2].lower()
        # Only durations are written in two pieces: 1min30s.
        if part.start() != at or unit not in units or (at and units is not DURATIONS):
            break
        total += Fraction(part[1].replace("_", "")) * units[unit]
        at = part.end()
    if at and at == len(token.text):
        return total
    raise _no_number(column, token)


def _no_number(column: Column, token: Token) -> UsageError:
    return failure(token.start, f"{column.name!r} is a number, not {token.shown}; {_example(column)}")


def _example(column: Column) -> str:
    examples = {
        "ns": "write 400ms, 1.5s or 2h10min",
        "epoch ns": "write '2024-05-01T12:00:00Z'",
        "B": "write 8000, 8kB or 64KiB",
        "bit/s": "write 1e6 or 10Mbit/s",
    }
    return examples.get(column.unit, "write 8 or 0.5")


def _instant(token: Token) -> Fraction:
    fraction = _FRACTION_OF_SECOND.search(token.text)
    try:
        moment = datetime.fromisoformat(_FRACTION_OF_SECOND.sub("", token.text, count=1).strip())
    except ValueError:
        hint = "write '2024-05-01T12:00:00Z' or with an offset, '…+02:00'"
        raise failure(token.start, f"{token.shown} is no instant; {hint}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return Fraction(int(seconds) * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0))
