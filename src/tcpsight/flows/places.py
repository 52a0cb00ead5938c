"""Whose address it is: country from a MaxMind-format file, zone from a table of networks; both named by the user."""

from __future__ import annotations

import csv
import ipaddress
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tcpsight.errors import TcpsightError, UsageError, installing

if TYPE_CHECKING:
    from maxminddb.reader import Reader

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REMEMBERED = 65_536
"""Addresses whose place is remembered: some 10 MB."""

LONGEST_LINE = 4096
"""Bytes of a line of a table of zones; who has longer ones has given another file."""

LONGEST_ZONE = 255
"""Characters of the name of a zone."""

HEADINGS = ("cidr", "network", "prefix", "subnet")
"""What the first column is called where a table of zones has a heading."""

_DAMAGES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
"""What reading a damaged database may raise, besides its own error."""


class Place(Protocol):
    """Tells whose an address is."""

    def __call__(self, address: Address) -> str | None:
        """Give the name; None where it is unknown."""


def nowhere(address: Address) -> str | None:
    """Know nothing: what looks up where no file was named."""
    return None


def countries(path: str | os.PathLike[str]) -> Place:
    """Read a database of countries in MaxMind's format; it is held in memory, so that its file may be replaced.

    Returns
    -------
    Place
        Gives the two letters of ISO 3166-1; None for an address that is not in it.

    Raises
    ------
    UsageError
        If the library that reads it is not installed.
    TcpsightError
        If the file cannot be read, or is something else; by a look-up, if it is damaged.
    """
    name = os.fspath(path)
    try:
        import maxminddb
    except ImportError:
        raise UsageError(f"{name}: reading it needs the library maxminddb: {installing('country')}") from None
    try:
        with Path(name).open("rb") as file:
            reader: Reader = maxminddb.open_database(file, maxminddb.MODE_FD)
    except OSError as error:
        raise TcpsightError(f"{name}: {error.strerror or error}") from None
    except (maxminddb.InvalidDatabaseError, *_DAMAGES):
        raise TcpsightError(f"{name}: no database in MaxMind's format (.mmdb)") from None
    holds_ipv6 = reader.metadata().ip_version == 6

    @lru_cache(REMEMBERED)
    def country(address: Address) -> str | None:
        if address.version == 6 and not holds_ipv6:
            return None
        try:
            return _country_of(reader.get(address))
        except (maxminddb.InvalidDatabaseError, *_DAMAGES):
            raise TcpsightError(f"{name}: damaged: what it says of {address} cannot be read") from None

    return country


def _country_of(found: Any) -> str | None:
    """Find the country in a record: ``country.iso_code`` as MaxMind has it, ``country_code``, or ``country``."""
    if not isinstance(found, dict):
        return None
    country = found.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else found.get("country_code", country)
    if not isinstance(code, str) or len(code) != 2 or not (code.isascii() and code.isalpha()):
        return None
    return code.upper()


def zones(path: str | os.PathLike[str]) -> Place:
    """Read a table of networks and their zones: ``10.1.0.0/16 eu-west`` or ``10.1.0.0/16,eu-west``, one a line.

    Returns
    -------
    Place
        Gives the zone of the smallest network that holds the address.

    Raises
    ------
    TcpsightError
        If the file cannot be read, or a line is none; the message has its number.
    """
    name = os.fspath(path)
    # By version and prefix length: the first bits of an address, to the line and the zone.
    tables: dict[tuple[int, int], dict[int, tuple[int, str]]] = {}
    for number, network, zone in _networks(name):
        table = tables.setdefault((network.version, network.prefixlen), {})
        prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        before, other = table.setdefault(prefix, (number, zone))
        if other != zone:
            _refuse(name, number, f"{network} is in zone {zone!r}, but in {other!r} on line {before}")
    lengths = {version: sorted((n for v, n in tables if v == version), reverse=True) for version in (4, 6)}

    @lru_cache(REMEMBERED)
    def zone_of(address: Address) -> str | None:
        for length in lengths[address.version]:
            prefix = int(address) >> (address.max_prefixlen - length)
            if prefix in tables[address.version, length]:
                return tables[address.version, length][prefix][1]
        return None

    return zone_of


def _networks(name: str) -> Iterator[tuple[int, Network, str]]:
    is_first = True
    for number, line in _lines(name):
        try:
            words = _words(line)
        except csv.Error:
            words = [""]
        if not words:
            continue
        is_heading = is_first and words[0].lower() in HEADINGS
        is_first = False
        if is_heading:
            continue
        if len(words) != 2 or not all(words):
            _refuse(name, number, "not a network and its zone: write 10.1.0.0/16 eu-west")
        if len(words[1]) > LONGEST_ZONE or not words[1].isprintable():
            _refuse(name, number, f"the name of the zone is not of 1 to {LONGEST_ZONE} printable characters")
        try:
            # An IPv6 zone (fe80::%eth0) names an interface of this machine, not of the captured one.
            network = ipaddress.ip_network(words[0] if "%" not in words[0] else "")
        except ValueError as error:
            reason = (
                "it has bits beyond its length" if "host bits" in str(error) else "write 10.1.0.0/16 or 2001:db8::/32"
            )
            _refuse(name, number, f"{words[0]!r} is no network: {reason}")
        yield number, network, words[1]


def _lines(name: str) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with Path(name).open("rb") as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    _refuse(name, number, f"longer than {LONGEST_LINE} bytes")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except OSError as error:
        raise TcpsightError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        _refuse(name, number, "not UTF-8")


def _words(line: str) -> list[str]:
    """Cut a line at its comma, or at blanks; what follows ``#`` at the begin of a word is a comment."""
    text = line.strip()
    if text.startswith("#"):
        return []
    text = text.split(" #")[0].split("\t#")[0]
    if "," not in text:
        return text.split()
    return [word.strip() for word in next(csv.reader([text], skipinitialspace=True))]


def _refuse(name: str, number: int, reason: str) -> NoReturn:
    raise TcpsightError(f"{name}, line {number}: {reason}")
