"""``tcpsight watch --screen``: the full-screen view, from its terminal to the last line that is left on it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from tcpsight.cli import values
from tcpsight.cli.endings import ENDINGS, kept
from tcpsight.cli.watch_options import Lines, Wanted
from tcpsight.errors import UsageError, installing

if TYPE_CHECKING:
    from tcpsight.cli.watch_feeds import Beats
    from tcpsight.run import Run
    from tcpsight.ui.board import Board
    from tcpsight.watching import Slice, Watch


def on_screen(
    watched: tuple[Run, Watch],
    wanted: Wanted,
    others: tuple[Callable[[Slice], None], Beats | None],
    write: Callable[[Slice], None],
) -> int:
    """Show a watch on the whole screen until somebody has seen enough; then write its last slice.

    Parameters
    ----------
    watched : tuple of Run and Watch
        The pass, and what gives its slices.
    wanted : Wanted
        What was asked for.
    others : tuple of callable and Beats
        What tells everybody else of a slice, and of none so far.
    write : callable
        Writes the last slice.
    """
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.watch import conclude_live
    from tcpsight.ui.board import Board
    from tcpsight.ui.capturing import Capturing
    from tcpsight.ui.screen import run_screen

    (run, watch), (feed, beats) = watched, others
    is_live = hasattr(run.capture, "received")  # an interface may well be silent
    board = Board(source_name(run))

    def fed(slices: Iterator[Slice]) -> Iterator[Slice]:
        for each in wanted.slicing.until_enough(slices):
            feed(each)
            yield each

    watch.on_look = noticing(board, run, wanted.interfaces, beats)
    # The screen handles signals itself, and takes the handlers with it.
    with Capturing(board, run, watch, fed) as capturing, kept(*ENDINGS, signal.SIGHUP):
        status = run_screen(board, values.zone(wanted.lines.timezone))
    if capturing.failure is not None:
        raise capturing.failure
    if capturing.last is not None:
        write(capturing.last)
        sys.stdout.flush()
    return status or (conclude_live(run) if is_live else conclude(run))


def noticing(board: Board, run: Run, interfaces: Sequence[str], beats: Beats | None = None) -> Callable[[], None]:
    """Make what shows on a board what is the case of interfaces, and tells feeds that there is no slice yet."""
    from tcpsight.cli.interface_notes import Looks

    looks = Looks(interfaces, run.capture, lambda: run.pipeline.frames) if interfaces else None

    def look() -> None:
        if looks is not None:
            looks.look()
            board.notice(looks.standing)
        if beats is not None:
            beats.look()

    return look


@contextmanager
def keys(lines: Lines) -> Iterator[None]:
    """Make sure that there is a screen, and let keys come from its terminal."""
    _require(lines)
    with _keys_from_terminal():
        yield


def source_name(run: Run) -> str:
    """Call what is watched by its name."""
    return ", ".join("standard input" if each.path == "-" else each.path for each in run.capture.files)


def _require(lines: Lines) -> None:
    """Make sure that there is a screen, and what draws on it."""
    if lines.is_json or lines.columns is not None:
        raise click.UsageError("--screen is a view of its own: leave out --json and --columns")
    if find_spec("textual") is None:
        raise UsageError(f"--screen needs Textual: {installing('screen')}")
    if not sys.stderr.isatty():
        raise click.UsageError("--screen needs a terminal on standard error, which it draws on")


@contextmanager
def _keys_from_terminal() -> Iterator[None]:
    """Let keys come from the terminal where standard input is something else, such as the capture.

    Whoever draws reads keys from the descriptor of standard input: it becomes the terminal, and `sys.stdin` reads what
    was there from another one.
    """
    if os.isatty(0):
        yield
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise click.UsageError("--screen needs a terminal to read keys from") from None
    usual, sys.stdin = sys.stdin, os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(terminal, 0)
    os.close(terminal)
    try:
        yield
    finally:
        with suppress(OSError):
            os.dup2(sys.stdin.fileno(), 0)
        sys.stdin = usual
