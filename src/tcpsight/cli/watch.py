"""``tcpsight watch``."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input
from tcpsight.cli.watch_feeds import Beats, feeding
from tcpsight.cli.watch_options import Lines, Slicing, Wanted, watch_options

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.output.feeds import Feeds
    from tcpsight.run import Run
    from tcpsight.tables import Table
    from tcpsight.watching import Slice, Watch

SHORTEST_WAIT_NS = 20_000_000
LONGEST_WAIT_NS = 400_000_000
"""For how long frames of an interface are waited for; silence is told twice as late."""


UNHEARD_NS = 1_000_000_000
"""Of a shorter silence at the end nothing is said."""


@click.command("watch")
@watch_options
def command(*, wanted: Wanted) -> int:
    """How services do while it happens: a line per second, or JSON for programs.

    \b
    tcpsight watch -i eth0
    tcpsight watch -i eth0 --screen
    tcpsight watch -i eth0 --server :3306 --json tcp port 3306
    ssh db1 tcpdump -U -s 128 -w - tcp | tcpsight watch -
    tcpsight watch -i eth0 --listen 127.0.0.1:9470 --feed statsd://127.0.0.1:8125
    tcpsight watch -i eth0 --record /var/tmp/findings
    tcpsight watch capture.pcap --interval 10s --by service
    """
    from tcpsight.cli.heap import Heap
    from tcpsight.cli.notes import conclude

    heap = Heap()
    slicing, lines = wanted.slicing, wanted.lines
    write = _printer(slicing.interval_ns, lines)
    is_fed = bool(wanted.feeding.targets or wanted.feeding.listen)
    with (
        _terminal(lines),
        opened(wanted.asked, wanted.interfaces, slicing) as analysis,
        analysis.watch(
            slicing.interval_ns,
            slicing.lateness_ns,
            most_services=slicing.most_services,
            with_findings=lines.with_findings or lines.is_screen,
            with_totals=is_fed or lines.is_screen,
            **wanted.recording.arguments(),
        ) as (run, slices),
        _told_to_the_end(analysis, slices, wanted),
        _saving(slices, wanted) as save,
        _fenced(wanted),
        # Threads are begun behind the fence.
        feeding(wanted) as feeds,
    ):
        beats = None if feeds is None else Beats(feeds, run, wanted)

        def tell_others(each: Slice) -> None:
            heap.give_back()
            save(each)
            if beats is not None:
                beats.send(each)

        if lines.is_screen:
            from tcpsight.cli.watch_screen import on_screen

            return on_screen((run, slices), wanted, (tell_others, beats), write)
        if lines.with_requests:
            from tcpsight.tables import Requests

            write_requests = _json_writer(Requests)
            slices.on_batch = lambda batch: write_requests(batch.requests)
        slices.on_look = look = _looking(wanted.interfaces, run, beats)
        look()
        _say_that_it_watches(wanted.interfaces, feeds)
        losses = Losses()
        for each in slicing.until_enough(iter(slices)):
            write(each)
            sys.stdout.flush()
            losses.tell(getattr(run.capture, "dropped", 0))
            _tell(each)
            tell_others(each)
        _tell_unheard(slices)
        return conclude_live(run) if wanted.interfaces else conclude(run)


def _tell_unheard(slices: Watch) -> None:
    """Say that the last slices may be empty because nobody captured any more."""
    from tcpsight.cli.notes import warn
    from tcpsight.output.units import duration

    begin_ns, end_ns = slices.unheard or (0, 0)
    if end_ns - begin_ns >= UNHEARD_NS:
        silence = duration(end_ns - begin_ns)
        warn(f"nothing was captured in the last {silence}: if who writes stopped then, slices of it tell of no service")


def _looking(interfaces: Sequence[str], run: Run, beats: Beats | None) -> Callable[[], None]:
    """Make what says what is news of interfaces, and tells feeds that there is no slice yet."""
    from tcpsight.cli.interface_notes import Looks
    from tcpsight.cli.notes import warn

    looks = Looks(interfaces, run.capture, lambda: run.pipeline.frames) if interfaces else None

    def look() -> None:
        for text in looks.look() if looks is not None else ():
            warn(text)
        if beats is not None:
            beats.look()

    return look


def conclude_live(run: Run) -> int:
    """Say what was received and what was lost; an interface may well be silent."""
    from tcpsight.cli.notes import notes

    notes(run)
    received, dropped = getattr(run.capture, "received", 0), getattr(run.capture, "dropped", 0)
    click.echo(f"tcpsight: {received:,} frames received, {dropped:,} dropped by the kernel", err=True)
    if run.pipeline.broken is not None:
        raise run.pipeline.broken
    return 0


class Losses:
    """Say at once that frames were lost: without them a busy server looks like an idle one."""

    def __init__(self) -> None:
        self._before = 0

    def tell(self, dropped: int) -> None:
        """Tell what was lost since it was told last, of all that was lost so far."""
        from tcpsight.cli.notes import warn

        if (lost := dropped - self._before) > 0:
            frames = "1 frame was" if lost == 1 else f"{lost:,} frames were"
            warn(f"{frames} lost before capture: the numbers of this time are too low")
        self._before = dropped


def _fenced(wanted: Wanted) -> AbstractContextManager[None]:
    """Give up every right that is not needed any more, where there were some to open interfaces."""
    if wanted.interfaces and wanted.is_fenced:
        from tcpsight.cli.rights import give_up_rights_of_watch

        give_up_rights_of_watch(wanted)
    return nullcontext()


def _terminal(lines: Lines) -> AbstractContextManager[None]:
    """Take the terminal's keys for a full-screen view; nothing otherwise."""
    if not lines.is_screen:
        return nullcontext()
    from tcpsight.cli.watch_screen import keys

    return keys(lines)


@contextmanager
def _saving(slices: Watch, wanted: Wanted) -> Iterator[Callable[[Slice], None]]:
    """Give what saves the findings of a slice, and all there is when a signal asks for it."""
    asked = wanted.recording
    if asked.record is None or slices.recall is None:
        yield lambda each: None
        return
    from tcpsight.cli.endings import handling
    from tcpsight.cli.notes import warn
    from tcpsight.recalling import ASKED, FindingFiles

    is_new = not Path(asked.record).exists()
    files = FindingFiles(slices.recall, asked.record)
    if is_new and wanted.interfaces:
        from tcpsight.cli.rights import hand_over

        hand_over(asked.record, wanted.user)
    is_asked = False

    def ask(signal_number: int, frame: object) -> None:
        nonlocal is_asked
        is_asked = True

    def save(each: Slice) -> None:
        nonlocal is_asked
        files.save(each.findings, each.end_ns + asked.record_ns)
        if is_asked:
            is_asked = False
            files.save_as(ASKED, each.end_ns - asked.record_ns, each.end_ns + asked.record_ns)
        for line in files.look():
            warn(line)

    with handling(signal.SIGUSR1, ask):
        try:
            yield save
        finally:
            for line in files.finish():
                warn(line)


def _columns(asked: Lines) -> list[str]:
    """Give the columns that are asked for, or of the usual ones those that a terminal has room for."""
    from tcpsight.output.live_lines import USUAL, usual_that_fit

    if asked.columns is not None:
        return [name for part in asked.columns.split(",") if (name := part.strip())]
    if not sys.stdout.isatty():
        return list(USUAL)
    names, left_out = usual_that_fit(shutil.get_terminal_size().columns, with_service=asked.by == "service")
    if left_out:
        click.echo(f"tcpsight: no room for {', '.join(left_out)} (--columns chooses)", err=True)
    return names


def _printer(interval_ns: int, asked: Lines) -> Callable[[Slice], None]:
    """Make what writes a slice to standard output."""
    from tcpsight.tables import KeyedIntervals

    if asked.is_json:
        if asked.columns is not None:
            raise click.UsageError("--json writes all columns: leave out --columns")
        if asked.with_requests:
            return lambda each: None
        write_rows = _json_writer(KeyedIntervals)
        return lambda each: write_rows(each.rows)
    if asked.with_requests:
        raise click.UsageError("--requests writes objects: add --json")
    from tcpsight.cli.notes import is_unicode
    from tcpsight.compat.tcprstat_format import Samples
    from tcpsight.output.live_lines import LiveLines

    lines = LiveLines(
        _columns(asked),
        values.zone(asked.timezone),
        interval_ns,
        has_unicode=is_unicode(sys.stdout),
        with_service=asked.by == "service",
    )

    def write(each: Slice) -> None:
        if asked.by == "total":
            statistics = [Samples((each.arrived.response_time_ns // 1000).tolist())]
            click.echo(lines.lines(each.total, statistics), nl=False)
            return
        statistics = [Samples((part.response_time_ns // 1000).tolist()) for part in each.arrived_by_service()]
        click.echo(lines.lines(each.rows, statistics, each.names()), nl=False)

    return write


def _json_writer(table_type: type[Table]) -> Callable[[Table], None]:
    """Make what writes rows to standard output, an object each, as they come."""
    from tcpsight.output.writers import open_writer

    writer = open_writer("-", table_type, "jsonl")

    def write(rows: Table) -> None:
        if len(rows):
            writer.write(rows)
            writer.flush()

    return write


@contextmanager
def opened(asked: Input, interfaces: Sequence[str], slicing: Slicing) -> Iterator[Analysis]:
    """Give what is watched; the first interrupt ends it, and what there is by then is told.

    Frames are waited for as long as a slice allows: each time they come costs a millisecond, however few they are.
    """
    from tcpsight.cli.endings import GRACE_S, until_hung_up, until_stopped
    from tcpsight.cli.running import patient

    if not interfaces:
        with patient(asked) as analysis:
            yield analysis
        return
    from tcpsight.listening import Listening

    analysis = asked.analysis()
    wait_ns = min(max(slicing.interval_ns * 2 // 5, SHORTEST_WAIT_NS), LONGEST_WAIT_NS)
    listening = Listening(interfaces, analysis.options, expression=asked.frame_filter, wait_ns=wait_ns)
    stop = listening.stop
    with until_hung_up(stop), until_stopped(stop, grace_s=GRACE_S), _until_over(stop, slicing):
        yield listening


@contextmanager
def _until_over(stop: Callable[[], None], slicing: Slicing) -> Iterator[None]:
    """End the listening when its time is over, even if there was nothing to hear."""
    from tcpsight.cli.endings import handling

    if slicing.duration_ns is None:
        yield
        return
    with handling(signal.SIGALRM, lambda number, frame: stop()):
        signal.setitimer(signal.ITIMER_REAL, slicing.duration_ns / 1e9)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _told_to_the_end(analysis: Analysis, slices: Watch, wanted: Wanted) -> Iterator[None]:
    """Let signals end the reading of a pipe or of a growing file, too, so that the last slice is told.

    The first Ctrl-C ends who writes a pipe: what that one still held is waited for, until there is another.
    """
    from tcpsight.cli.endings import GRACE_S, until_hung_up, until_stopped
    from tcpsight.cli.running import is_pipe, patience

    following, sources = analysis.following, wanted.asked.sources
    if wanted.interfaces or not (following is not None or any(map(is_pipe, sources))):
        yield
        return
    stop = slices.stop if following is None else following.stop
    with until_hung_up(stop), until_stopped(stop, grace_s=GRACE_S), patience(sources if following is None else []):
        yield


def _tell(each: Slice) -> None:
    """Write what was found to standard error, a line each: it is no row of the answer."""
    if not len(each.findings):
        return
    from tcpsight.facts import finding_facts
    from tcpsight.output.units import printable

    for row in each.findings:
        facts = finding_facts(row)
        line = f"tcpsight: {facts['severity']}: {facts['subject']}: {facts['kind']}: {facts['summary']}"
        click.echo(printable(line), err=True)


def _say_that_it_watches(interfaces: Sequence[str], feeds: Feeds | None) -> None:
    from tcpsight.output.units import printable

    if interfaces:
        click.echo(f"tcpsight: watching {printable(', '.join(interfaces))}", err=True)
    if feeds is not None and feeds.endpoint is not None:
        click.echo(f"tcpsight: metrics at http://{feeds.endpoint.address}/metrics", err=True)
