"""``tcpsight ipc``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.pages import facts_options, output_option, write_facts

if TYPE_CHECKING:
    from tcpsight.transports.measuring import Case, Measurement

TRANSPORTS = ("tcp_nodelay", "tcp", "unix_stream", "unix_datagram", "pipe", "shared_memory")
LEAST_CASE_NS = 20_000_000
"""Less time for a case tells nothing."""

LARGEST_MESSAGE = 64 * 1024 * 1024


def _sizes(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    sizes = sorted({values.size_bytes(part) for part in text.split(",") if part.strip()})
    if not sizes or sizes[-1] > LARGEST_MESSAGE:
        raise click.BadParameter(f"{text!r}: write sizes of up to 64MiB, such as 64,1KiB,16KiB")
    return tuple(sizes)


@click.command("ipc")
@click.option(
    "--sizes",
    callback=_sizes,
    default="64,1KiB,16KiB,128KiB",
    show_default=True,
    metavar="SIZE,…",
    help="How long messages are.",
)
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Choice(TRANSPORTS),
    help="Only this one. Repeatable.  [default: all]",
)
@click.option(
    "--pin",
    "pinnings",
    multiple=True,
    type=click.Choice(["free", "same", "apart"]),
    help="Where both processes run: anywhere, on one processor, on one each. Repeatable.  [default: free]",
)
@click.option(
    "--duration",
    "duration_ns",
    type=values.positive_duration_ns,
    default="10s",
    show_default=True,
    metavar="DURATION",
    help="How long all of it takes, about.",
)
@click.option(
    "--capture",
    metavar="FILE",
    help="Also tell what share of each recorded service's response time the loopback stack is.",
)
@click.option("--plot", metavar="FILE", help="Also draw it into a .png, .svg or .pdf (needs Matplotlib).")
@click.option("--progress/--no-progress", default=None, help="A bar on standard error.  [default: if it is a terminal]")
@facts_options
@output_option
def command(
    sizes: tuple[int, ...],
    transports: tuple[str, ...],
    pinnings: tuple[str, ...],
    duration_ns: int,
    capture: str | None,
    plot: str | None,
    progress: bool | None,
    format: str | None,
    output: str,
) -> int:  # fmt: skip
    """Measure TCP loopback against Unix sockets, pipes and shared memory.

    \b
    tcpsight ipc --duration 30s
    tcpsight ipc --sizes 100,1000,10000 --pin free --pin apart --format json
    tcpsight ipc --transport tcp_nodelay --transport unix_stream --capture loopback.pcap

    For each transport and size: the time of a message there and back (median, p99, histogram), and how much goes one
    way. Linux.
    """
    from tcpsight.cli.plotting import check_plot
    from tcpsight.output.transports import draw, page
    from tcpsight.transports.facts import measured_facts, service_facts
    from tcpsight.transports.measuring import cases

    if sys.platform != "linux":
        raise click.UsageError("ipc measures Linux, by its system calls")
    if plot is not None:
        check_plot(plot, [capture] if capture is not None else [])
    if capture is not None:
        values.refuse_output_over_input(output, [capture])
    todo = list(cases(list(dict.fromkeys(transports or TRANSPORTS)), sizes, list(dict.fromkeys(pinnings or ("free",)))))
    each_ns = duration_ns // len(todo)
    if each_ns < LEAST_CASE_NS:
        least = -(-len(todo) * LEAST_CASE_NS // 10**9)
        raise click.UsageError(f"{len(todo)} cases in so short a time tell nothing: --duration {least}s or longer")
    measurements, refused = _measured(todo, each_ns, progress)
    facts: dict[str, Any] = measured_facts(measurements, refused)
    if capture is not None:
        import tcpsight

        facts["services"] = service_facts(tcpsight.open(capture).requests, facts["transports"])
    write_facts(facts, output, format, lambda screen: page(facts, screen))
    if plot is not None:
        draw(facts, plot)
    return 0


def _measured(
    todo: list[Case], each_ns: int, progress: bool | None
) -> tuple[list[Measurement], list[tuple[Case, str]]]:
    """Measure all cases; give what they cost, and those that could not be measured with the reason."""
    from tcpsight.errors import TcpsightError
    from tcpsight.transports.measuring import measure

    done: list[Measurement] = []
    refused: list[tuple[Case, str]] = []
    with _bar(len(todo), progress) as advance:
        for case in todo:
            try:
                done.append(measure(case, each_ns))
            except TcpsightError as error:
                refused.append((case, str(error).rpartition(": ")[2]))
            advance()
    if not done:
        raise TcpsightError(f"nothing could be measured: {refused[0][1]}")
    return done, refused


@contextmanager
def _bar(total: int, progress: bool | None) -> Iterator[Any]:
    """Show how far measuring has come, if somebody looks."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Drawn when something has been measured, not by a thread beside what is being measured.
    with Progress(*shown, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("measuring", total=total)
        bar.refresh()
        yield lambda: bar.update(task, advance=1, refresh=True)
