"""Options of ``tcpsight watch``, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import TIMEOUTS, Input, decorated

if TYPE_CHECKING:
    from tcpsight.watching import Slice

Function = Callable[..., Any]

CONNECTION_BYTES = 6_000
"""What an open connection takes at most where findings are looked for; holes, and logs of what was lost, have caps of
their own."""

BASE_BYTES = 150_000_000
"""What a watch takes besides: libraries, the requests of the last minutes, 20 MB while findings are looked for."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """How time is cut into slices, and when enough of them were seen."""

    interval_ns: int
    lateness_ns: int | None
    most_services: int
    count: int | None
    duration_ns: int | None

    def until_enough(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        """Give slices until enough were seen."""
        first_ns: int | None = None
        for number, each in enumerate(slices, 1):
            yield each
            first_ns = each.start_ns if first_ns is None else first_ns
            is_last = self.duration_ns is not None and each.end_ns - first_ns >= self.duration_ns
            if is_last or (self.count is not None and number >= self.count):
                return


@dataclass(frozen=True, slots=True)
class Lines:
    """What is written to standard output."""

    is_json: bool
    with_requests: bool
    is_screen: bool
    by: str
    columns: str | None
    timezone: str
    with_findings: bool


@dataclass(frozen=True, slots=True)
class Feeding:
    """Whom else slices are told."""

    targets: tuple[str, ...]
    listen: str | None


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept, so that findings can be saved with their packets."""

    record: str | None
    record_ns: int
    record_bytes: int

    def arguments(self) -> dict[str, int]:
        """Give what the watch is asked for."""
        return {} if self.record is None else {"recall_ns": self.record_ns, "recall_bytes": self.record_bytes}


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a watch is asked for; what is watched is `asked`, but for interfaces, which have names only."""

    asked: Input
    interfaces: tuple[str, ...]
    slicing: Slicing
    lines: Lines
    feeding: Feeding
    recording: Recording
    user: str | None
    is_fenced: bool


_WATCHED: list[Callable[[Function], Function]] = [
    click.argument("words", nargs=-1, metavar="[SOURCE] [FILTER]..."),
    click.option("-i", "--interface", "interfaces", multiple=True, metavar="IF",
                 help="Watch this interface; 'any' for all. Repeatable."),
    click.option("-r", "--read", "source", metavar="SOURCE",
                 help="A capture file, or '-' for a pipe: the same as naming it as the first argument."),
    click.option("--follow", is_flag=True, help="Wait for more at the end of a file that is still being written."),
    click.option("--follow-idle", "follow_idle_ns", type=values.duration_ns, metavar="DURATION",
                 help="Follow it until nothing was added for so long."),
    click.option("--server", "servers", multiple=True, metavar="[ADDRESS]:PORT",
                 help="Only this service, and take this side for the server. Repeatable."),
    click.option("--interval", "interval_ns", type=values.positive_duration_ns, default="1s", show_default=True,
                 metavar="DURATION", help="Length of a slice."),
    click.option("--lateness", "lateness_ns", type=values.duration_ns, metavar="DURATION",
                 help="How long a slice waits for answers to its requests.  [default: as long as a slice]"),
    click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="End after so many slices."),
    click.option("--duration", "duration_ns", type=values.positive_duration_ns, metavar="DURATION",
                 help="End after so much time."),
]  # fmt: skip

_TOLD: list[Callable[[Function], Function]] = [
    click.option("--json", "is_json", is_flag=True, help="One JSON object per slice and service, with all columns."),
    click.option("--screen", "is_screen", is_flag=True,
                 help="A full-screen view; 'q' ends it, '?' tells its keys."),
    click.option("--requests", "with_requests", is_flag=True,
                 help="With --json: an object per request instead, as soon as it is answered."),
    click.option("--by", type=click.Choice(["total", "service"]), default="total", show_default=True,
                 help="A line per slice, or one for each service in it."),
    click.option("--columns", metavar="A,B,…",
                 help="Columns of tcpsight intervals, or tcprstat's: count, avg, med, stddev, 95_max …"),
    click.option("--listen", metavar="HOST:PORT", help="Answer Prometheus there, at /metrics."),
    click.option("--feed", "targets", multiple=True, metavar="TARGET",
                 help="Send slices there: a file of JSON lines, tcp://HOST:PORT, unix:///PATH, statsd://HOST:PORT, "
                 "otlp+http://HOST:PORT, kafka://BROKER/TOPIC. Repeatable."),
    click.option("--record", metavar="FOLDER",
                 help="Keep the last minutes in memory, and save each warning there with its packets, headers only; "
                 "SIGUSR1 saves what there is."),
    click.option("--record-for", "record_ns", type=values.positive_duration_ns, default="10min", show_default=True,
                 metavar="DURATION", help="For how long frames are kept."),
    click.option("--record-memory", "record_bytes", type=values.size_bytes, default="256MiB", show_default=True,
                 metavar="SIZE", help="How much memory they may take."),
    click.option("--findings/--no-findings", "with_findings", default=True, show_default=True,
                 help="Say on standard error what is found meanwhile: stalls, blackholes, full queues."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of times in lines."),
]  # fmt: skip

_MADE: list[Callable[[Function], Function]] = [
    click.option("--start-end", default="request_last,response_first", metavar="START,END",
                 help="Response time runs from request_first|request_last to response_first."),
    click.option("--leave-out", multiple=True, type=click.Choice(["first", "handshake", "overlapped"]),
                 help="Requests that do not count. Repeatable."),
    click.option("--input-timezone", default="UTC", metavar="ZONE", help="Zone of times in tcpdump text."),
    click.option("--max-services", "most_services", type=click.IntRange(1, 10_000), default=100, show_default=True,
                 metavar="N", help="At most so many services have rows of their own."),
    *TIMEOUTS,
    click.option("--max-connections", "most_connections", type=click.IntRange(min=256), default=250_000,
                 show_default=True, metavar="N",
                 help="At most so many connections at once, an eighth of them in their handshake; then the oldest are "
                 f"given up. Each takes up to {CONNECTION_BYTES // 1000} kB, 1.5 kB with --no-findings."),
    click.option("--user", metavar="ACCOUNT",
                 help="Become this account once interfaces are open.  [default: who called sudo, if that will do]"),
    click.option("--fence/--no-fence", "is_fenced", default=True, show_default=True,
                 help="Once interfaces are open, keep the process from all that it does not need."),
]  # fmt: skip


def watch_options(function: Function) -> Function:
    """Give a command the options; it receives them as one argument `wanted`."""

    @wraps(function)
    def command(*, timezone: str, **others: Any) -> Any:
        others["timezone"] = timezone
        lines = Lines(*(others.pop(name) for name in Lines.__slots__))
        recording = Recording(*(others.pop(name) for name in Recording.__slots__))
        rights = others.pop("user"), others.pop("is_fenced")
        feeding = Feeding(*(others.pop(name) for name in Feeding.__slots__))
        watched = _watched(timezone, others)
        asked, interfaces, slicing = (watched.pop(name) for name in ("asked", "interfaces", "slicing"))
        return function(wanted=Wanted(asked, interfaces, slicing, lines, feeding, recording, *rights), **watched)

    return decorated(command, [*_WATCHED, *_TOLD, *_MADE])


def source_options(function: Function, own: Sequence[Callable[[Function], Function]]) -> Function:
    """Give a command those of the options that tell what is watched, and its own.

    It receives `asked`, `interfaces` and `slicing`.
    """

    @wraps(function)
    def command(**others: Any) -> Any:
        return function(**_watched("UTC", others))

    return decorated(command, [*_WATCHED, *own, *_MADE])


def _watched(timezone: str, others: dict[str, Any]) -> dict[str, Any]:
    """Put what is watched in the place of the options that tell it."""
    interfaces, source, words = (others.pop(name) for name in ("interfaces", "source", "words"))
    source, filter_words = _source(interfaces, source, words)
    slicing = Slicing(*(others.pop(name) for name in Slicing.__slots__))
    names = ("follow", "follow_idle_ns", "servers", "start_end", "leave_out", "input_timezone", "most_connections")
    asked = Input(
        sources=[source] if source is not None else [],
        frame_filter=" ".join(filter_words) or None,
        since=None,
        until=None,
        timezone=timezone,
        timeouts_ns=tuple(others.pop(f"timeout_{name}") for name in ("handshake", "ended", "established")),
        progress=False,
        **{name: others.pop(name) for name in names},
    )
    return {"asked": asked, "interfaces": interfaces, "slicing": slicing, **others}


def _source(
    interfaces: tuple[str, ...], source: str | None, words: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """Tell what is read, None for interfaces, and the words of the filter."""
    if interfaces and source is not None:
        raise click.UsageError("-i watches an interface, -r reads a capture: choose one")
    if interfaces or source is not None:
        return source, words
    if not words:
        raise click.UsageError("name an interface with -i, or a capture to read, '-' for a pipe")
    if len(words) > 1 and Path(words[1]).is_file():
        from tcpsight.cli.notes import warn

        warn(f"{words[1]!r} is taken as a filter, not as the file of that name: one source is watched")
    return words[0], words[1:]
