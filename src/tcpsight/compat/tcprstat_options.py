"""The command line of tcprstat, read as GNU getopt read it, in the order in which it was written."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcpsight.compat.c_numbers import leading_number
from tcpsight.compat.tcprstat_format import DEFAULT_FORMAT, is_format
from tcpsight.tables import IPV4_PREFIX

LONG = {
    "help": "h", "version": "V", "local": "l", "port": "p", "format": "f", "header": "s", "no-header": "S",
    "interval": "t", "iterations": "n", "read": "r", "tail": "T",
}  # fmt: skip
"""Long options, and the letters that stand for them; of these only those in `SHORT` can be written."""

SHORT = "hVlpftnr"
VALUED = "lpftnr"
VALUE_IS_OPTIONAL = "s"
HIGHEST_PORT = 65_535
VERSION = "tcprstat 0.3.1 (tcpsight)"

USAGE = """Usage: {name} [--port <port>] [--format=<format>] [--interval=<sec>]
             [--header[=<header>] | --no-header] [--iterations=<it>]
             [--read=<file>] [--local <addresses>] [--tail]
       {name} --version | --help
"""

HELP = """
  --read <file>, -r         Read a capture instead of the interfaces of this machine; - is standard input.
  --local <addresses>, -l   Addresses of the servers, separated by commas, instead of those of this machine.
  --port <port>, -p         Only TCP from or to this port.
  --interval <seconds>, -t  How often a line is written (default 10).
  --iterations <n>, -n      Lines to write live, 0 without end (default 1).
  --header[=<header>], --no-header
                            Write this first; by default a header is made from the format.
  --tail                    From a file, write a line of the last interval too, which it cuts short.
  --format <format>, -f     What a line holds; \\n, \\t, \\r and \\\\ stand for themselves. Times are microseconds.
      %n  how many response times      %x  sum of their squares      %T  end of the interval, Unix time
      %a  average                      %m  minimum                   %t  seconds since the start
      %h  median                       %M  maximum                   %I  number of the line, from 0
      %S  standard deviation           %s  sum                       %%  a percent sign
      %v  variance
      A number in between takes the smallest so many per cent: %95M, %99a.
"""


class Refused(Exception):
    """The command line makes no sense; the message is for standard error."""


@dataclass(slots=True)
class Options:
    """What was asked for.

    Attributes
    ----------
    local : list of bytes
        Addresses as tables hold them, 16 bytes each; None where none were named.
    header : str or None
        To be written instead of one made from the format.
    iterations : int
        0 without end.
    shows : str
        ``help`` or ``version``; empty to work.
    """

    read_from: str = ""
    local: list[bytes] | None = None
    port: int = 0
    interval_s: int = 10
    iterations: int = 1
    format: str = DEFAULT_FORMAT
    header: str | None = None
    has_header: bool = True
    has_tail: bool = False
    shows: str = field(default="")


def parse(name: str, words: list[str]) -> Options:
    """Read a command line; ``--help`` and ``--version`` end it.

    Raises
    ------
    Refused
        For the first mistake.
    """
    options = Options()
    for letter, value in _options(name, words):
        if letter in "hV":
            options.shows = "help" if letter == "h" else "version"
            break
        _TAKERS[letter](options, value)
    return options


def _options(name: str, words: list[str]) -> Iterator[tuple[str, str | None]]:
    """Give letters and values, in order; what is no option is passed over."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return
        if word.startswith("--"):
            yield _long(name, word[2:], rest)
        elif word.startswith("-"):
            cluster = word[1:]
            while cluster:
                letter, cluster = cluster[0], cluster[1:]
                if letter not in SHORT:
                    raise Refused(f"{name}: invalid option -- '{letter}'\n{USAGE.format(name=name)}")
                if letter not in VALUED:
                    yield letter, None
                    continue
                if not cluster and not rest:
                    raise Refused(f"{name}: option requires an argument -- '{letter}'\n{USAGE.format(name=name)}")
                yield letter, cluster or rest.pop(0)
                cluster = ""


def _long(name: str, word: str, rest: list[str]) -> tuple[str, str | None]:
    given, equals, value = word.partition("=")
    found = [given] if given in LONG else [option for option in LONG if option.startswith(given)]
    if len(found) != 1:
        wrong = f"option '--{given}' is ambiguous" if found else f"unrecognized option '--{given}'"
        raise Refused(f"{name}: {wrong}\n{USAGE.format(name=name)}")
    letter = LONG[found[0]]
    if letter in VALUED:
        if not equals and not rest:
            raise Refused(f"{name}: option '--{found[0]}' requires an argument\n{USAGE.format(name=name)}")
        return letter, value if equals else rest.pop(0)
    if equals and letter not in VALUE_IS_OPTIONAL:
        raise Refused(f"{name}: option '--{found[0]}' doesn't allow an argument\n{USAGE.format(name=name)}")
    return letter, value if equals else None


def _take_file(options: Options, value: str) -> None:
    if value != "-":
        try:
            with Path(value).open("rb"):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Refused(f"Cannot open file `{value}': {reason}\n") from None
    options.read_from = value


def _take_local(options: Options, value: str) -> None:
    try:
        options.local = (options.local or []) + [packed(part) for part in value.split(",")]
    except (OSError, ValueError):
        raise Refused("Error parsing local addresses\n") from None


def packed(text: str) -> bytes:
    """Read an address as C programs do (``10.1`` is 10.0.0.1), or an IPv6 address; 16 bytes as tables hold them."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return IPV4_PREFIX + socket.inet_aton(text)


def _take_port(options: Options, value: str) -> None:
    options.port = leading_number(value, is_any_base=True)
    if not 0 < options.port <= HIGHEST_PORT:
        raise Refused("Invalid port\n")


def _take_format(options: Options, value: str) -> None:
    if not is_format(value):
        raise Refused(f"Bad format provided: `{value}'\n")
    options.format = value


def _take_interval(options: Options, value: str) -> None:
    options.interval_s = leading_number(value)
    if not 0 < options.interval_s < 1 << 31:
        raise Refused("Bad interval provided\n")


def _take_iterations(options: Options, value: str) -> None:
    # Below 0 it counted down from the largest number there is.
    options.iterations = max(leading_number(value), 0)


def _take_header(options: Options, value: str | None) -> None:
    options.header, options.has_header = value, True


def _take_no_header(options: Options, value: str | None) -> None:
    options.has_header = False


def _take_tail(options: Options, value: str | None) -> None:
    options.has_tail = True


_TAKERS: dict[str, Callable[[Options, Any], None]] = {
    "r": _take_file, "l": _take_local, "p": _take_port, "f": _take_format, "t": _take_interval,
    "n": _take_iterations, "s": _take_header, "S": _take_no_header, "T": _take_tail,
}  # fmt: skip
