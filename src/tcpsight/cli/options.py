"""Options that mean the same in every command, and what they ask the library for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.cluster.engine import Cluster

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]

FORMATS = ("table", "csv", "jsonl", "parquet", "arrow")
SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
}
TEXT_SUFFIXES = ("", ".txt", ".text", ".log")


class RowFormat(click.Choice[str]):
    """One of the formats of rows; who asks for JSON is told which of them that is."""

    def __init__(self) -> None:
        super().__init__(FORMATS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check a word."""
        if value == "json":
            self.fail("rows are written as JSON by --format jsonl, one object a line", param, ctx)
        return super().convert(value, param, ctx)


@dataclass(frozen=True, slots=True)
class Input:
    """What to read, and how: the options of `input_options`."""

    sources: list[Any]  # names; of a pipe that was looked at, the open file
    servers: tuple[str, ...]
    frame_filter: str | None
    since: str | None
    until: str | None
    start_end: str
    timezone: str
    input_timezone: str
    timeouts_ns: tuple[int | None, int | None, int | None]
    progress: bool | None
    follow: bool = False
    follow_idle_ns: int | None = None
    most_connections: int = 1_000_000
    leave_out: tuple[str, ...] = ()
    workers: int | None = 1
    skip_bad: bool = False
    engine: str | None = None

    @property
    def is_followed(self) -> bool:
        """Whether more is waited for at the end of a file."""
        return self.follow or self.follow_idle_ns is not None

    @property
    def is_readable_again(self) -> bool:
        """Whether a second pass reads the same: not of a pipe, nor of what is still being written."""
        from tcpsight.capture.source import is_reopenable

        return not self.is_followed and all(is_reopenable(each) for each in self.sources)

    def analysis(self) -> Analysis:
        """Ask the library for it."""
        from tcpsight.analysis import Analysis
        from tcpsight.arguments import worker_count
        from tcpsight.capture import Following
        from tcpsight.connections import Timeouts
        from tcpsight.endpoints import parse_server
        from tcpsight.pipeline import Options
        from tcpsight.selection import Selection

        since = values.instant_ns(self.since, self.timezone) if self.since is not None else None
        until = values.instant_ns(self.until, self.timezone) if self.until is not None else None
        if since is not None and until is not None and until <= since:
            raise click.UsageError(f"--until {self.until} is not after --since {self.since}")
        selection = Selection(tuple(parse_server(text) for text in self.servers), since, until)
        given = (own if own is not None else usual for own, usual in zip(self.timeouts_ns, Timeouts(), strict=True))
        start, end = values.start_end(self.start_end)
        options = Options(
            selection,
            start,
            end,
            Timeouts(*given),
            self.most_connections,
            leave_out=tuple(dict.fromkeys(self.leave_out)),
            workers=worker_count(self.workers),
        )
        for zone in (self.timezone, self.input_timezone):
            values.zone(zone)
        following = Following(self.follow_idle_ns) if self.is_followed else None
        return Analysis(
            self.sources,
            options,
            frame_filter=self.frame_filter,
            input_timezone=self.input_timezone,
            following=following,
            skips_bad=self.skip_bad,
            engine=self._engine(),
        )

    def _engine(self) -> Cluster | None:
        """Give what has work done elsewhere; it ends with the command, and begins when it is needed."""
        if self.engine is None:
            return None
        from tcpsight.cluster.engine import Cluster

        cluster = Cluster(self.engine, self.workers)
        click.get_current_context().call_on_close(cluster.close)
        return cluster


TIMEOUTS: list[Decorator] = [
    click.option("--timeout-handshake", type=values.duration_ns, metavar="DURATION",
                 help="A handshake without answer is given up after this.  [default: 130s]"),
    click.option("--timeout-ended", type=values.duration_ns, metavar="DURATION",
                 help="A closed connection is final after this.  [default: 60s]"),
    click.option("--timeout-established", type=values.duration_ns, metavar="DURATION",
                 help="A silent connection is given up after this.  [default: 2h10min]"),
]  # fmt: skip

_INPUT: list[Decorator] = [
    click.argument("sources", nargs=-1, required=True, metavar="SOURCE..."),
    click.option("--server", "servers", multiple=True, metavar="[ADDRESS]:PORT",
                 help="Only this service, and take this side for the server. Repeatable."),
    click.option("--filter", "frame_filter", metavar="BPF", help="Only frames that match, in tcpdump's language."),
    click.option("--since", metavar="INSTANT", help="Only requests that arrive, connections that last, from here on."),
    click.option("--until", metavar="INSTANT",
                 help="Only those before: ISO 8601, or s, ms, µs or ns since 1970 by its digits."),
    click.option("--start-end", default="request_last,response_first", show_default=True, metavar="START,END",
                 help="Response time runs from request_first|request_last to response_first|response_last."),
    click.option("--leave-out", multiple=True, type=click.Choice(["first", "handshake", "overlapped"]),
                 help="Not the first request of a connection; TLS handshakes, where payload was captured; those sent "
                 "while a response was going on. Repeatable."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE",
                 help="Zone of times in text, and of --since and --until without an offset."),
    click.option("--input-timezone", default="UTC", show_default=True, metavar="ZONE",
                 help="Zone of times in tcpdump text, and of Network Monitor's."),
    click.option("--follow", is_flag=True,
                 help="Wait for more at the end of a file that is still being written, until Ctrl-C."),
    click.option("--follow-idle", "follow_idle_ns", type=values.duration_ns, metavar="DURATION",
                 help="Follow it until nothing was added for so long."),
    *TIMEOUTS,
    click.option("--max-connections", "most_connections", type=click.IntRange(min=256), default=1_000_000,
                 metavar="N", show_default=True,
                 help="At most so many open at once (1 to 4 kB each); then the oldest are given up, and counted."),
    click.option("--workers", type=click.IntRange(1, 256), metavar="N",
                 help="So many threads follow connections; results never depend on it. Pipes, followed files and "
                 "segments have one.  [default: one for each processor, up to 3]"),
    click.option("--skip-bad", is_flag=True,
                 help="Of several files, leave out what cannot be read; it is named and counted."),
    click.option("--engine", metavar="ENGINE",
                 help="Have it done by other processes: local for some on this machine, --workers of them, or "
                 "dask://HOST:PORT for a cluster of Dask, which must see the same files. Results never depend on it."),
    click.option("--progress/--no-progress", default=None,
                 help="A bar on standard error.  [default: if it is a terminal]"),
]  # fmt: skip

_OUTPUT: list[Decorator] = [
    click.option("--format", "format", type=RowFormat(),
                 help="How rows are written.  [default: by the suffix of -o, else table]"),
    click.option("-o", "--output", default="-", metavar="FILE", help="Where to; '-' is standard output."),
    click.option("--sort", metavar="COLUMN", help="Order rows by a column; -COLUMN for descending."),
    click.option("--columns", metavar="A,B,…", help="Only these columns, in this order; all: every one."),
]  # fmt: skip

_STREAMS: list[Decorator] = [
    click.option("--overlaps", type=click.Choice(["first", "last"]), default="first", show_default=True,
                 help="Which copy gives a byte that was captured more than once."),
    click.option("--index/--no-index", default=True, show_default=True,
                 help="Keep the index of a capture of 64 MiB or more in ~/.cache/tcpsight, for the next look at it."),
]  # fmt: skip


def input_options(function: Function) -> Function:
    """Give a command the options of `Input`; it receives them as one argument `source`.

    The command has an option ``--output`` too, which may be none of the files that are read.
    """
    from functools import wraps

    @wraps(function)
    def command(
        *,
        sources: tuple[str, ...],
        timeout_handshake: int | None,
        timeout_ended: int | None,
        timeout_established: int | None,
        **others: Any,
    ) -> Any:
        names = ["servers", "frame_filter", "since", "until", "start_end", "timezone", "input_timezone", "progress"]
        names += ["follow", "follow_idle_ns", "most_connections", "leave_out", "workers", "skip_bad", "engine"]
        chosen = {name: others.pop(name) for name in names}
        timeouts = (timeout_handshake, timeout_ended, timeout_established)
        source = Input(sources=values.expanded(sources), timeouts_ns=timeouts, **chosen)
        values.refuse_output_over_input(others["output"], source.sources)
        return function(source=source, **others)

    return decorated(command, _INPUT)


def two_inputs(function: Function) -> Function:
    """Give a command two captures; it receives them as arguments `client_side` and `server_side`, each an `Input`.

    The command has an option ``--output`` too, which may be none of the files that are read.
    """
    from functools import wraps

    @wraps(function)
    def command(
        *, client_side: str, server_side: str, timeouts: tuple[int | None, ...] = (None,) * 3, **others: Any
    ) -> Any:
        chosen = {name: others.pop(name) for name in _OF_TWO}
        sources = [values.expanded((path,)) for path in (client_side, server_side)]
        if sources == [["-"], ["-"]]:
            raise click.UsageError("only one of the two captures can be standard input")
        values.refuse_output_over_input(others["output"], sources[0] + sources[1])
        given = {"timeouts_ns": timeouts, **chosen}
        ours = Input(sources=sources[0], **given)
        # Times choose requests of the client side, by its clock; the other's may differ.
        theirs = Input(sources=sources[1], **given | {"since": None, "until": None})
        return function(client_side=ours, server_side=theirs, **others)

    shared = [option for option in _INPUT[1:] if _named(option) in _OF_TWO]
    sides = [click.argument(name, metavar=name.upper()) for name in ("client_side", "server_side")]
    return decorated(command, [*sides, *shared])


def before_and_after(function: Function) -> Function:
    """Give a command two captures; it receives them as arguments `before` and `after`, each an `Input`.

    Either may be several files, or both the same one, cut at an instant. The command has an option ``--output`` too.
    """
    from functools import wraps

    @wraps(function)
    def command(*, before: str, after: str | None, at: str | None, **others: Any) -> Any:
        chosen = {name: others.pop(name) for name in _BEFORE_AND_AFTER_HAVE} | {"timeouts_ns": (None,) * 3}
        more = others.pop("more_before"), others.pop("more_after")
        if (after is None) == (at is None):
            why = "name the capture AFTER, or cut BEFORE with --at INSTANT" if at is None else "--at cuts one capture"
            raise click.UsageError(why)
        if at is not None and any(more):
            raise click.UsageError("--at cuts one capture: there are no others before or after")
        sources = [values.expanded((name, *names)) for name, names in zip((before, after or before), more, strict=True)]
        if sources[0].count("-") + sources[1].count("-") > 1:
            raise click.UsageError("only one of the two captures can be standard input, and none that is cut with --at")
        values.refuse_output_over_input(others["output"], sources[0] + sources[1])
        times = ({"until": at}, {"since": at}) if at is not None else ({}, {})
        if at is not None and (chosen["since"] is not None or chosen["until"] is not None):
            raise click.UsageError("--at stands for --until and --since: add none of them")
        both = [Input(sources=own, **chosen | time) for own, time in zip(sources, times, strict=True)]
        return function(before=both[0], after=both[1], **others)

    shared = [option for option in _INPUT[1:] if _named(option) in _BEFORE_AND_AFTER_HAVE]
    return decorated(command, [*_BEFORE_AND_AFTER, *shared])


_BEFORE_AND_AFTER: list[Decorator] = [
    click.argument("before", metavar="BEFORE"),
    click.argument("after", metavar="AFTER", required=False),
    click.option("--at", metavar="INSTANT", help="Cut one capture here: what was before, and what came after."),
    click.option("--before", "more_before", multiple=True, metavar="FILE", help="One more file of BEFORE. Repeatable."),
    click.option("--after", "more_after", multiple=True, metavar="FILE", help="One more file of AFTER. Repeatable."),
]

_OF_TWO = ("servers", "frame_filter", "since", "until", "start_end", "timezone", "input_timezone", "progress",
           "most_connections", "skip_bad")  # fmt: skip

_BEFORE_AND_AFTER_HAVE = (*_OF_TWO, "leave_out", "workers", "engine")


def _named(decorator: Decorator) -> str:
    """Tell the argument that an option becomes."""

    def nothing() -> None:
        pass

    decorator(nothing)
    return str(nothing.__click_params__[0].name)  # type: ignore[attr-defined]


def output_options(where_example: str) -> Decorator:
    """Give a command the options of a table's output; the example is a condition on rows of that table."""
    text = f"Only rows for which this holds, such as '{where_example}'."
    where = click.option("--where", metavar="CONDITION", help=text)
    return lambda function: decorated(function, [where, *_OUTPUT])


def stream_options(function: Function) -> Function:
    """Give a command the options of whoever reads streams, `overlaps` and `index`."""
    return decorated(function, _STREAMS)


def decorated(function: Function, decorators: list[Decorator]) -> Function:
    """Give a command options, which its help lists in this order."""
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def chosen_format(format: str | None, output: str) -> str:
    """Tell the format: as asked, else by the file's suffix, else text.

    Raises
    ------
    click.UsageError
        If the suffix is that of something else.
    """
    if format is not None:
        return format
    from pathlib import PurePath

    suffix = PurePath(output).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix in TEXT_SUFFIXES or _is_device(output):
        return "table"
    hint = "name the file .jsonl" if suffix == ".json" else f"name the file {', '.join(SUFFIXES)} or .txt"
    raise click.UsageError(f"-o {output}: {suffix} is no format of rows; {hint}, or add --format {'|'.join(FORMATS)}")


def _is_device(output: str) -> bool:
    """Tell whether a name says nothing about the content: a device or a pipe."""
    import stat
    from pathlib import Path

    if output.startswith("/dev/"):
        return True
    try:
        mode = Path(output).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
