"""The command line of yconalyzer: what each letter means, and what it says of a mistake."""

from __future__ import annotations

import getopt
import re
import sys
import time
from dataclasses import dataclass, field

from tcpsight.compat.c_numbers import leading_number, signed

LETTERS = "I:Rc:m:V:w:x:X:y:Y:t:n:s:p:r:i:dTD:SPC"

BUCKETS = 20
BUCKET_SIZE = 20
RUN_TIME_S = 60

OLD_LAYOUT = 1
IN_PROGRESS_LAYOUT = 999
"""Values of ``-V``: the layout of version 1.0, and lists of what has not ended."""

RTT_ENABLED = "RTT Estimation enabled.\n"

KINDS = {"P": "throughput", "C": "client bytes", "S": "server bytes"}
"""What connections are put into buckets by; their duration without any of these letters."""

USAGE = """\
Usage: {name} -p port [-d] [-R] [-r from_file] [-w to_file] [-i ifname] [-n nbuckets] [-s bucket size] \
[-X max-srvr-rsp-size] [ -x max-clnt-req-size] [-T]  [-D msecs] [-P|-C|-S] [-c num_attempts] [-I timespec] [filter]
-d: Debug on (default off)
-c: Print connections that took >= num_attempts to establish
-R: Raw format output. Useful for scripts
-r: Data is read from file instead of live interface
-w: Data is written to a file.
-i: Interface name (default is ethernet interface)
-n: Number of buckets for getting the distribution. Default 20
-s: Bucket size (connection life time). Default 20ms
-t: Run time in seconds (default 60)
-X: Consider only those connections where the server sends data less than this number. 0 considers all conns (default)
-x: Consider only those connections where the client sends data less than this number. 0 considers all conns (default)
-Y: Consider only those connections where the server sends data more than this number. 0 considers all conns (default)
-y: Consider only those connections where the client sends data more than this number. 0 considers all conns (default)
  Only one of -x or -X can be specified
-T: Attempt to estimate round trip time
  Estimates may be wrong if the command is run on the server side. See man page.
-D: Print connection filters for the bucket starting with this value
  Useful when yconalyzer reads from file. You can then filter by port to look at individual connection trace
-p: port number you want to monitor. Must be specified
-I: Consider pkts newer than this time. Specify in HH:MM:SS or YYYY-MM-DD.HH:MM:SS format
-P for sorting the output by throughput
-C for sorting the output by number of bytes sent by client
-S for sorting the output by number of bytes sent by server
filter: Optional, specified as in tcpdump(1)
Connections are placed in one of the buckets depending on duration
You must be super-user to run this program
Type 'man yconalyzer' for more information
"""
"""Printed with every mistake; old scripts look for its first line."""


class Refused(Exception):
    """The command line makes no sense: lines for standard error and, rarely, standard output; the status is 1."""

    def __init__(self, error: str, output: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.output = output


@dataclass(slots=True)
class Options:
    """What was asked for; 0 and −1 mean "not given" where the old tool took them so."""

    name: str
    port: int = 0
    read_from: str = ""
    write_to: str = ""
    interface: str = ""
    run_time_s: int = RUN_TIME_S
    kind: str = "duration"
    buckets: int = 0
    bucket_size: int = 0
    lowest_bucket: int = 0
    most_client_bytes: int = 0
    most_server_bytes: int = 0
    least_client_bytes: int = 0
    least_server_bytes: int = 0
    drill_low: int = -1
    drill_high: int = -1
    least_attempts: int = 0
    since: str | None = None
    is_raw: bool = False
    has_rtt: bool = False
    debug: int = 0
    layout: int = 0
    long_ms: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        """Whether frames come from an interface."""
        return not self.read_from


def parse(name: str, arguments: list[str]) -> Options:
    """Read the command line as the old tool did: options anywhere, filter words between and behind them.

    Raises
    ------
    Refused
        As the old tool would have.
    """
    try:
        found, words = getopt.gnu_getopt(arguments, LETTERS)
    except getopt.GetoptError as error:
        takes_value = f"{error.opt}:" in LETTERS
        what = "option requires an argument" if takes_value else "invalid option"
        raise _usage(name, f"{name}: {what} -- '{error.opt}'\n") from None
    options = Options(name, words=words)
    for letter, value in found:
        _take(options, letter[1:], value)
    _check(options)
    return options


def _take(options: Options, letter: str, value: str) -> None:
    numbers = {
        "t": "run_time_s", "n": "buckets", "s": "bucket_size", "D": "drill_low", "V": "layout", "m": "long_ms",
    }  # fmt: skip
    sizes = {
        "X": "most_server_bytes", "x": "most_client_bytes", "Y": "least_server_bytes", "y": "least_client_bytes",
        "c": "least_attempts",
    }  # fmt: skip
    once = {"i": "interface", "r": "read_from", "w": "write_to"}
    if letter in numbers:
        setattr(options, numbers[letter], _int(value))
    elif letter in sizes:
        # These went through an unsigned long: a negative number is a huge one.
        setattr(options, sizes[letter], _int(value) % 2**64)
    elif letter in once:
        if getattr(options, once[letter]):
            raise _usage(options.name)
        setattr(options, once[letter], value)
    elif letter in KINDS:
        if options.kind != "duration":
            raise _usage(options.name, "Only one of -S,-P or -C please\n")
        options.kind = KINDS[letter]
    elif letter == "p":
        options.port = _int(value) % 2**16
    elif letter == "I":
        options.since = value
    elif letter == "R":
        options.is_raw = True
    elif letter == "T":
        options.has_rtt = True
    else:
        options.debug += 1


def _int(value: str) -> int:
    """Read a number as C's ``atoi`` does."""
    return signed(leading_number(value), 32)


def _check(options: Options) -> None:
    if options.since is not None:
        try:
            clock_of(options.since)
        except ValueError as error:
            raise _usage(options.name, f"Illegal time string{error}\n") from None
    if options.long_ms and options.layout != IN_PROGRESS_LAYOUT:
        raise _usage(options.name, output=f"{options.name}: illegal option -- m\n")
    if not options.write_to:
        options.buckets = options.buckets or BUCKETS
        options.bucket_size = options.bucket_size or BUCKET_SIZE
    if options.drill_low < options.bucket_size * options.buckets:
        options.drill_high = options.drill_low + options.bucket_size
    for what, least, most in (
        ("Client requests", options.least_client_bytes, options.most_client_bytes),
        ("Server responses", options.least_server_bytes, options.most_server_bytes),
    ):
        if least and most and least >= most:
            raise _usage(options.name, f"{what} < {signed(most, 64)} and > {signed(least, 64)}?\n")
    if options.port == 0:
        raise _usage(options.name, "Port must be specified\n")
    if not options.write_to:
        if options.buckets <= 0 or options.run_time_s <= 0 or options.bucket_size <= 0:
            raise Refused("Illegal value for options\n")
        _fit_buckets(options)


def _fit_buckets(options: Options) -> None:
    """Leave out buckets of bytes that the limits keep empty."""
    limits = {
        "client bytes": (options.least_client_bytes, options.most_client_bytes),
        "server bytes": (options.least_server_bytes, options.most_server_bytes),
    }
    least, most = limits.get(options.kind, (0, 0))
    lowest = least // 1024 // options.bucket_size
    options.lowest_bucket = lowest
    if most:
        options.buckets = min(options.buckets, most // options.bucket_size // 1024 - lowest + 1)


def _usage(name: str, error: str = "", output: str = "") -> Refused:
    return Refused(error + USAGE.format(name=name), output)


def clock_of(text: str) -> tuple[tuple[int, int, int] | None, tuple[int, int, int]]:
    """Read ``HH:MM:SS`` or ``YYYY-MM-DD.HH:MM:SS``; give the date, if there is one, and the time of day.

    Raises
    ------
    ValueError
        It is neither; the message is what follows "Illegal time string".
    """
    number = r"\s*(\d{1,2})"
    clock = rf"{number}:{number}:{number}"
    has_date = "-" in text
    match = re.match(rf"\s*(\d{{1,4}})-{number}-{number}\.{clock}" if has_date else clock, text, re.ASCII)
    if match is None:
        raise ValueError("")
    fields = [int(group) for group in match.groups()]
    limits = [(0, 23), (0, 59), (0, 61)]
    if has_date:
        limits = [(0, 9999), (1, 12), (1, 31), *limits]
    if any(not low <= value <= high for value, (low, high) in zip(fields, limits, strict=True)):
        raise ValueError("")
    if match.end() < len(text):
        raise ValueError(f": {text[match.end() :]}")
    hour, minute, second = fields[-3:]
    return ((fields[0], fields[1], fields[2]) if has_date else None), (hour, minute, second)


def since_second(text: str, first_second: int) -> int:
    """Give the second up to which segments are left out.

    Parameters
    ----------
    text : str
        The value of ``-I``; without a date it means the day of the first segment, in the local time zone.
    first_second : int
        When that was, in seconds since the epoch.
    """
    local = time.localtime(first_second)
    date, clock = clock_of(text)
    year, month, day = date or local[:3]
    try:
        return int(time.mktime((year, month, day, *clock, 0, 0, local.tm_isdst)))
    except (OverflowError, ValueError):
        return 0


def complain(message: str) -> None:
    """Write a line to standard error, as it is."""
    sys.stderr.write(message)
