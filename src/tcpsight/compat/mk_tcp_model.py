"""mk-tcp-model, later pt-tcp-model: requests of a server from a capture, and their sums per interval.

Requests come from the same rooms as everywhere, told to read as the old tool did: every data segment counts in the
order of capture, whether its bytes were sent before or not. What it misread (pure acknowledgments, several servers of
one client port, IPv6, text of ``-i any``) they read right. ``docs/compat/mk-tcp-model.md`` lists the differences.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from tcpsight.compat.toolkit_options import ConfigError, ToolkitArguments, ToolkitOption, config_words
from tcpsight.compat.toolkit_progress import ToolkitProgress, fault_of

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.compat.mk_tcp_model_slices import RequestSlices
    from tcpsight.tables import Requests

VERSIONS = {"mk-tcp-model": "mk-tcp-model 0.9.0", "pt-tcp-model": "pt-tcp-model 2.1.10"}
"""The last release of each, whose output this is; what prints it is named behind."""

INSTANTS = {"ts0": "request_first_ns", "ts": "request_last_ns", "end": "response_first_ns", "end1": "response_last_ns"}
"""What the old tool calls the instants of a request, and what the Requests table does."""

TYPES = ("tcpdump", "requests")
USUAL_PORT = "3306"
SHORTEST_SECONDS, LONGEST_SECONDS = 1e-6, 1e15
DEAD = 255
"""The status with which Perl dies."""

LOSSES = (
    "truncated_frame",
    "unknown_link_type",
    "fragment",
    "malformed_ip",
    "malformed_tcp",
    "unreadable_text",
    "kernel_drop",
    "interface_drop",
)
"""What may have cost a request; the old tool skipped it without a word."""


class Tool(NamedTuple):
    """What differs between the names of the tool."""

    name: str
    folder: str
    shared: str
    debug_variable: str


def tool_of(name: str) -> Tool:
    """Give the tool of a name."""
    if name == "pt-tcp-model":
        return Tool(name, "percona-toolkit", "percona-toolkit", "PTDEBUG")
    return Tool(name, "maatkit", "maatkit", "MKDEBUG")


def config_files(tool: Tool) -> list[str]:
    """Give the configuration files that are read where none is named, the last to be obeyed last."""
    home = os.environ.get("HOME") or "."
    etc = f"/etc/{tool.folder}"
    return [
        f"{etc}/{tool.shared}.conf",
        f"{etc}/{tool.name}.conf",
        f"{home}/.{tool.shared}.conf",
        f"{home}/.{tool.name}.conf",
    ]


def options_of(tool: Tool) -> list[ToolkitOption]:
    """Give the options."""
    return [
        ToolkitOption("config", "A", ",".join(config_files(tool)), "Configuration files; only as the first option"),
        ToolkitOption("help", "", None, "Show this and exit"),
        ToolkitOption("progress", "a", "time,30", "What progress is counted by, and how often it is reported"),
        ToolkitOption("quantile", "f", ".99", "Which response time the column before the last tells, of 1"),
        ToolkitOption("run-time", "f", "1", "Length of an interval in seconds"),
        ToolkitOption("start-end", "A", "ts,end", "Two of ts0, ts, end, end1: from when to when response time runs"),
        ToolkitOption("type", "s", "tcpdump", "What comes in: tcpdump (text or pcap) or requests"),
        ToolkitOption("version", "", None, "Show the version and exit"),
        ToolkitOption("watch-server", "s", "10.10.10.10:3306", "Server to watch; only its port counts"),
    ]


def run(name: str, arguments: list[str]) -> int:
    """Run the tool; give its exit status."""
    tool = tool_of(name)
    debug = Debug(tool)
    given = ToolkitArguments(options_of(tool))
    try:
        given.parse(with_config(given, list(arguments), debug))
    except ConfigError as error:
        return complain(str(error), 2)
    for line in given.complaints:
        complain(line, 0)
    if given.has("version"):
        print(f"{VERSIONS[name]} (tcpsight)")
        return 1
    if not given.has("help"):
        given.errors.extend(errors_in(given))
    if given.has("help"):
        print(help_text(tool, given))
        return 0
    if given.errors:
        print(error_text(tool, given))
        return 1
    debug("options", given.values, "files", given.files)
    with patience():
        return run_requests(given, debug) if given.values["type"] == "requests" else run_tcpdump(given, debug)


# ------------------------------------------------------------------------------------------------- options


def with_config(given: ToolkitArguments, words: list[str], debug: Debug) -> list[str]:
    """Put what the configuration files say before the command line.

    Raises
    ------
    ConfigError
        A file that the user named cannot be read.
    """
    is_named = False
    if words and (words[0] == "--config" or words[0].startswith("--config=")):
        _, equals, value = words.pop(0).partition("=")
        if not equals:
            value = words.pop(0) if words else ""
        given.values["config"], is_named = value, True
    configured: list[str] = []
    for path in given.values["config"].split(","):
        if path:
            found = config_words(path, is_named)
            debug("config", path, found)
            configured.extend(found)
    return configured + words


def errors_in(given: ToolkitArguments) -> Iterator[str]:
    """Say what is wrong with the values."""
    fault = fault_of(given.list_of("progress"))
    if fault is not None:
        yield f"--progress {fault}"
    if given.values["type"] not in TYPES:
        yield "--type must be tcpdump or requests"
    names = given.list_of("start-end")
    if len(names) != 2 or not set(names) <= set(INSTANTS):
        yield f"--start-end wants two of {', '.join(INSTANTS)}"


def usage(tool: Tool) -> str:
    """Give the line that tells how it is called."""
    return f"Usage: {tool.name} [OPTION...] [FILE]"


def description(tool: Tool) -> str:
    """Say what it does."""
    return (
        f"{tool.name} finds the requests to a server in what tcpdump recorded, as text or\n"
        "pcap, and sums them up per interval.  Without FILE, or where FILE is -, it reads\n"
        "standard input.  Use --help for the options."
    )


def error_text(tool: Tool, given: ToolkitArguments) -> str:
    """Give the list of errors in the command line."""
    errors = "\n  * ".join(["Errors in command-line arguments:", *given.errors])
    return f"{usage(tool)}\n\n{errors}\n\n{description(tool)}"


def help_text(tool: Tool, given: ToolkitArguments) -> str:
    """Give the help: each option, then each option's value."""
    lines = [description(tool), usage(tool), "", "Options:", ""]
    for option in sorted(given.options.values()):
        title = f"{option.name}={option.kind}" if option.kind else option.name
        default = f" (default {option.default})" if option.default and option.name != "config" else ""
        lines.append(f"  --{title:<14}  {option.meaning}{default}")
    lines += ["", "Option types: s=string, i=integer, f=float, a/A=comma-separated list"]
    lines += ["", "Options and values after processing arguments:", ""]
    lines += [f"  --{name:<14}  {value}" for name, value in given.values_after()]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ requests


def run_tcpdump(given: ToolkitArguments, debug: Debug) -> int:
    """Print the requests of each file; give the exit status."""
    from tcpsight.endpoints import parse_port
    from tcpsight.errors import UsageError

    # Of the watched server only the port counts; what has no colon is taken for an address. Those within brackets are
    # the address's own.
    parts = given.values["watch-server"].rpartition("]")[2].split(":")
    try:
        port = parse_port((parts[1] if len(parts) > 1 else "") or USUAL_PORT)
    except UsageError as error:
        return complain(str(error), DEAD)
    start, end = (INSTANTS[name] for name in given.list_of("start-end"))
    status, number = 0, 0
    for path in readable(given.files):
        debug("file", path)
        failed, opened = print_requests(path, port, (start, end), given, number)
        status = max(status, failed)
        number += opened
        debug("requests begun so far", number)
    return status


def print_requests(
    path: str, port: int, instants: tuple[str, str], given: ToolkitArguments, number: int
) -> tuple[int, int]:
    """Print the requests of one file; give the exit status, and how many requests began in it."""
    from tcpsight.analysis import Analysis
    from tcpsight.endpoints import parse_server
    from tcpsight.errors import CaptureError
    from tcpsight.pipeline import Options
    from tcpsight.selection import Selection

    selection = Selection((parse_server(f":{port}"),))
    options = Options(selection, ports=(port,), by="capture")
    try:
        with Analysis([path], options, input_timezone="local").run() as run:
            progress = progress_of(path, run, given.list_of("progress"))
            for batch in run:
                if len(batch.requests):
                    for line in request_lines(batch.requests, instants, number):
                        print(line)
                    sys.stdout.flush()
                    if progress is not None:
                        progress.update(len(batch.requests))
            note(run)
            if run.pipeline.broken is not None:
                return complain(str(run.pipeline.broken), 2), run.pipeline.opened
            return 0, run.pipeline.opened
    except CaptureError as error:
        # The old tool found nothing in what is no text of tcpdump, and was content.
        if path == "-" or Path(path).stat().st_size:
            complain(str(error), 0)
        return 0, 0


def request_lines(requests: Requests, instants: tuple[str, str], number: int) -> Iterator[str]:
    """Write requests: id, start, end, elapsed, client; seconds with six decimals."""
    # Cut to microseconds, as tcpdump prints them, before they are subtracted.
    starts, ends = ((requests.rows[name] // 1000).tolist() for name in instants)
    ids = (requests.request_number + number).tolist()
    addresses = requests.rows["client_address"].tobytes()
    ports, versions = requests.client_port.tolist(), requests.ip_version.tolist()
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        client = client_text(addresses[16 * row : 16 * row + 16], ports[row], versions[row])
        yield f"{ids[row]:6d} {seconds(start)} {seconds(end)} {seconds(end - start):>9} {client}"


@lru_cache(maxsize=65_536)
def client_text(address: bytes, port: int, ip_version: int) -> str:
    """Write a client."""
    from tcpsight.output.addresses import endpoint_text

    return endpoint_text(address, port, ip_version)


def seconds(us: int) -> str:
    """Write microseconds as seconds with six decimals."""
    return f"{'-' if us < 0 else ''}{abs(us) // 10**6}.{abs(us) % 10**6:06d}"


def note(run: Run) -> None:
    """Say on standard error what the capture lacks."""
    from tcpsight.tables import REASON_TEXTS, REASONS

    for row in run.pipeline.unseen.table():
        reason = REASONS[int(row["reason"])]
        if reason in LOSSES:
            complain(f"{run.capture.files[0].path}: {int(row['count'])} {REASON_TEXTS[reason]}", 0)


def progress_of(path: str, run: Run, parts: list[str]) -> ToolkitProgress | None:
    """Report progress on files; nobody knows how long a pipe is."""
    total = run.capture.bytes_total
    return None if path == "-" or total is None else ToolkitProgress(path, total, lambda: run.capture.bytes_read, parts)


# ------------------------------------------------------------------------------------------------- slices


def run_requests(given: ToolkitArguments, debug: Debug) -> int:
    """Print the intervals of lists of requests; give the exit status."""
    from tcpsight.compat.mk_tcp_model_slices import LineError, RequestSlices

    interval, quantile = abs(float(given.values["run-time"])), float(given.values["quantile"])
    for name, value in (("run-time", interval), ("quantile", quantile)):
        if value == 0:
            return complain(f"--{name} must not be 0", DEAD)
    if not SHORTEST_SECONDS <= interval <= LONGEST_SECONDS:
        return complain(f"--run-time must be from {SHORTEST_SECONDS:f} to {LONGEST_SECONDS:g} s", DEAD)
    slices = RequestSlices(interval, quantile)
    for path in readable(given.files):
        debug("file", path)
        try:
            print_slices(path, slices, given.list_of("progress"))
        except LineError as error:
            sys.stdout.flush()
            return complain(f"{path}: {error}", DEAD)
        except IsADirectoryError:
            complain(f"{path} is a directory", 0)
    return 0


def print_slices(path: str, slices: RequestSlices, parts: list[str]) -> None:
    """Print the intervals that a file completes."""
    with opened_text(path) as file:
        progress = None
        if path != "-" and Path(path).is_file():
            progress = ToolkitProgress(path, Path(path).stat().st_size, file.buffer.tell, parts)
        for lines in (slices.feed(file), slices.finish()):
            for line in lines:
                print(line, flush=True)
                if progress is not None:
                    progress.update()


@contextmanager
def opened_text(path: str) -> Iterator[TextIO]:
    """Open a list of requests, whatever bytes it holds."""
    if path == "-":
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
        yield sys.stdin
        return
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        yield file


# ------------------------------------------------------------------------------------------------- around


def readable(files: list[str]) -> list[str]:
    """Give the files that can be read, standard input where none is named; warn of the others."""
    found = []
    for path in files or ["-"]:
        if path != "-" and not os.access(path, os.R_OK):
            complain(f"{path} does not exist or is not readable", 0)
        else:
            found.append(path)
    return found


@contextmanager
def patience() -> Iterator[None]:
    """Let the first interrupt pass, so that what a pipe still holds is read; the second ends."""
    usual = signal.getsignal(signal.SIGINT)

    def read_on(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, leave)
        complain("# Caught SIGINT.", 0)

    def leave(number: int, frame: object) -> None:
        complain("# Exiting on SIGINT.", 0)
        raise SystemExit(1)

    try:
        signal.signal(signal.SIGINT, read_on)
    except ValueError:  # not the main thread: nobody interrupts it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def complain(text: str, status: int) -> int:
    """Write a line to standard error; give the status."""
    from tcpsight.output.units import printable

    print(printable(text), file=sys.stderr)
    return status


class Debug:
    """Writes what happens to standard error where the tool's variable asks for it."""

    def __init__(self, tool: Tool) -> None:
        value = os.environ.get(tool.debug_variable, "")
        self._prefix = f"# {tool.name}:{os.getpid()}" if value not in ("", "0") else ""

    def __call__(self, *words: object) -> None:
        """Write a line of words."""
        if self._prefix:
            complain(" ".join([self._prefix, *map(str, words)]), 0)
