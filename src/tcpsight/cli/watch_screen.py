"""``tcpsight watch --screen``: the full-screen view, from its terminal to the last line that is left on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from tcpsight.cli import values
from tcpsight.cli.watch_options import Lines, Slicing
from tcpsight.errors import UsageError, installing

if TYPE_CHECKING:
    from tcpsight.run import Run
    from tcpsight.watching import Slice, Watch


def on_screen(
    watched: tuple[Run, Watch],
    slicing: Slicing,
    lines: Lines,
    feed: Callable[[Slice], None],
    write: Callable[[Slice], None],
) -> int:
    """Show a watch on the whole screen until somebody has seen enough; then write its last slice.

    Parameters
    ----------
    watched : tuple of Run and Watch
        The pass, and what gives its slices, which are told to `feed`, too, as they come.
    """
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.watch import conclude_live
    from tcpsight.ui.board import Board
    from tcpsight.ui.capturing import Capturing
    from tcpsight.ui.screen import run_screen

    run, watch = watched
    is_live = hasattr(run.capture, "received")  # an interface may well be silent
    board = Board(source_name(run))

    def fed(slices: Iterator[Slice]) -> Iterator[Slice]:
        for each in slicing.until_enough(slices):
            feed(each)
            yield each

    with Capturing(board, run, watch, fed) as capturing:
        status = run_screen(board, values.zone(lines.timezone))
    if capturing.failure is not None:
        raise capturing.failure
    if capturing.last is not None:
        write(capturing.last)
        sys.stdout.flush()
    return status or (conclude_live(run) if is_live else conclude(run))


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
