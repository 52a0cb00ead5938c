"""What is said on standard error when a capture has been read: what was not understood, and why nothing came out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

from tcpsight.errors import CaptureError
from tcpsight.output.units import printable
from tcpsight.tables import REASON_TEXTS, REASONS

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.where import Where

NAMED_INTERFACES = 5
"""So many interfaces that lost frames are named."""

NAMED_SERVICES = 5
"""So many services without turns are named."""

NOTABLE_DISORDER = 0.01
"""A larger part of the frames, and it is told what helps."""

NAMED_FILES = 20
"""So many files that could not be read are named."""


def conclude(run: Run, *, shows_unseen: bool = False) -> int:
    """Say on standard error what was not understood and why nothing came out; give the exit status.

    Parameters
    ----------
    run : Run
        A pass that has ended.
    shows_unseen : bool
        Whether the output has already said what was not understood.

    Raises
    ------
    CaptureError
        The capture broke off, or holds nothing to analyse.
    """
    from tcpsight.cli.nothing import nothing_selected
    from tcpsight.nothing import no_frames, no_tcp

    if not shows_unseen:
        notes(run)
    for line in bad_files(run):
        warn(line)
    pipeline = run.pipeline
    if pipeline.broken is not None:
        raise pipeline.broken
    paths = " ".join(f.path for f in run.capture.files)
    if pipeline.frames == 0:
        raise CaptureError(paths, -1, no_frames(run))
    if run.frame_filter is not None and run.frame_filter.matched == 0:
        warn(run.frame_filter.why_nothing_matched())
    elif pipeline.segments == 0:
        raise CaptureError(paths, -1, no_tcp(run, "--filter"))
    elif pipeline.selected == 0 and not pipeline.options.selection.is_everything:
        warn(nothing_selected(run))
    return 0


def notes(run: Run) -> None:
    """Write what was not understood, a line per reason."""
    for line in note_lines(run):
        warn(line)


def note_lines(run: Run) -> Iterator[str]:
    """Say what was not understood, a line per reason."""
    from tcpsight.clock_facts import clock_facts
    from tcpsight.nothing import names_of
    from tcpsight.output.clock_words import clock_notes
    from tcpsight.output.units import reason_text

    for row in run.pipeline.unseen.table():
        reason, count = REASONS[int(row["reason"])], int(row["count"])
        byte_count = int(row["bytes"])
        size = f", {byte_count:,} byte{'' if byte_count == 1 else 's'}" if byte_count else ""
        meaning = reason_text(REASON_TEXTS[reason], count, int(row["furthest_back_ns"]))
        what_helps = _order(run, count) if reason == "time_backwards" else ""
        yield (f"{reason}: {count:,}{size}{_where(run, reason, int(row['first_frame']))}: {meaning}{what_helps}")
    yield from clock_notes(clock_facts(run))
    yield from _without_turns(run)
    for file in run.capture.files:
        if file.named_lines and run.pipeline.frames:
            yield (f"{file.path}: {names_of(file.named_lines)}")
        if file.restarts:
            times = "once" if file.restarts == 1 else f"{file.restarts:,} times"
            yield (f"{file.path}: replaced or cut while it was followed, {times}; read on from its new start")


def _order(run: Run, count: int) -> str:
    """Say what to do about frames that are out of order, where they are so many that it is no accident."""
    # None were read of a lake whose parts cannot be.
    if count < NOTABLE_DISORDER * run.pipeline.frames or not run.pipeline.frames:
        return ""
    # 10 ms: MOST_DISORDER_NS in network/_clock.pxd.
    share = f"{100 * count / run.pipeline.frames:.2g} % of all frames"
    return (
        f": {share}; what is late by 10 ms and more counts as out of order, and round trips are lost: "
        "reordercap (of Wireshark) puts a file in order"
    )


def _without_turns(run: Run) -> Iterator[str]:
    """Name services whose response times mean nothing."""
    from tcpsight.output.addresses import endpoint_text

    reasons = run.pipeline.turn_sample.reasons()
    for (address, port, version), reason in reasons[:NAMED_SERVICES]:
        yield f"{endpoint_text(address, port, version)}: {reason}; times of its requests mean nothing"
    if len(reasons) > NAMED_SERVICES:
        yield f"{len(reasons) - NAMED_SERVICES:,} more services take no turns: report names all"


def bad_files(run: Run) -> Iterator[str]:
    """Name the files that were skipped."""
    bad = [each for each in run.capture.files if each.problem]
    for each in bad[:NAMED_FILES]:
        yield f"{each.path}: left out{f' after {each.frames:,} frames' if each.frames else ''}: {each.problem}"
    if len(bad) > NAMED_FILES:
        yield f"{len(bad) - NAMED_FILES:,} more files were left out (report --format json names all)"


def _where(run: Run, reason: str, first_frame: int) -> str:
    """Say where something happened: the first frame or line, or the interfaces that lost frames."""
    if first_frame > 0:
        return f", first at frame {first_frame}"
    if reason == "unreadable_text":
        lines = [(f.unreadable_line, f.path) for f in run.capture.files if f.unreadable_line is not None]
        of = f" of {lines[0][1]}" if len(run.capture.files) > 1 and lines else ""
        return f", first at line {lines[0][0]}{of}" if lines else ""
    if reason in ("kernel_drop", "interface_drop"):
        drops = [(i.name, getattr(i, f"{reason}s")) for i in run.capture.interfaces if getattr(i, f"{reason}s")]
        named = [f"{name} {count:,}" for name, count in drops if name]
        return f", on {', '.join(named[:NAMED_INTERFACES])}" if named and len(named) == len(drops) else ""
    return ""


def warn_of_outside(run: Run, outside: int) -> None:
    """Tell of requests that no slice has among its arrivals, unless the user cut the time."""
    selection = run.pipeline.options.selection
    if outside and selection.since_ns is None and selection.until_ns is None:
        warn(
            f"requests that arrived in no slice: {outside:,}: "
            "by times that go backwards they came before the first segment or after the last"
        )


def is_unicode(stream: TextIO) -> bool:
    """Tell whether a stream shows more than ASCII, µ among it."""
    return (stream.encoding or "ascii").lower().startswith("utf")


def takes_unicode(output: str) -> bool:
    """Tell whether an output takes more than ASCII: any file, and standard output if it shows it."""
    return output != "-" or is_unicode(sys.stdout)


def warn(text: str) -> None:
    """Write a line to standard error."""
    click.echo(f"tcpsight: note: {printable(text)}", err=True)


def warn_of_none(where: Where, rows: int) -> None:
    """Tell that a condition holds for none of some rows."""
    which = "none of 1 row" if rows == 1 else f"none of {rows:,} rows"
    warn(f"--where {where.text}: holds for {which}")
