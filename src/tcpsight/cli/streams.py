"""``tcpsight streams``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import Input, input_options, stream_options
from tcpsight.errors import CaptureError, TcpsightError, UsageError, installing
from tcpsight.output.units import printable

if TYPE_CHECKING:
    from tcpsight.cli.streams_shell import Shell
    from tcpsight.conversations.catalog import Catalog
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run


@click.command("streams")
@input_options
@click.option(
    "-c",
    "commands",
    multiple=True,
    metavar="'CMD; CMD'",
    help="Obey these commands, in place of a screen; 'help' lists them. Repeatable.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Where answers go; '-' is standard output.")
@stream_options
@click.option("--prompt", is_flag=True, help="Commands from the terminal, in place of a screen.")
def command(source: Input, commands: tuple[str, ...], output: str, overlaps: str, index: bool, prompt: bool) -> int:
    """Browse, follow, search, pipe and export what both sides said.

    \b
    tcpsight streams capture.pcap
    tcpsight streams capture.pcap -c 'match text SELECT; list; follow 5648'
    tcpsight streams capture.pcap -c 'filter server_port = 3306 and duration > 1s; dump streams/'
    tcpsight streams capture.pcap -c 'follow 5648 --format json' | jq .

    On a terminal a screen opens; with -c, or with standard input that is no terminal, commands are obeyed. Exit status
    1 if a program that was given a stream has failed.
    """
    if source.is_followed:
        raise click.UsageError("streams reads what is there: leave out --follow")
    if prompt and (commands or not _is_terminal(0)):
        raise click.UsageError("--prompt is for somebody who types: without -c, on a terminal")
    if "-" in source.sources and not commands:
        raise click.UsageError("the capture is standard input: give commands with -c")
    if commands or prompt or output != "-" or not (_is_terminal(0) and _is_terminal(1)):
        return obey(source, commands, output, overlaps, keeps_index=index)
    if find_spec("textual") is None:
        raise UsageError(f"the screen needs Textual: {installing('screen')}; or add -c, or --prompt")
    with _opened(source, overlaps, keeps_index=index) as (again, catalog):
        return _browse(catalog, again)


def obey(source: Input, commands: tuple[str, ...], output: str, overlaps: str, *, keeps_index: bool) -> int:
    """Obey commands, those that are typed or come by standard input if there are none; give the exit status."""
    from tcpsight.cli.streams_console import Console
    from tcpsight.cli.streams_files import Targets
    from tcpsight.cli.streams_shell import Shell

    if source.is_followed:
        raise click.UsageError("what both sides said is read when all is there: leave out --follow")
    with _opened(source, overlaps, keeps_index=keeps_index) as (_, catalog):
        console = Console(output, values.zone(source.timezone))
        shell = Shell(catalog, console, Targets(source.sources, output))
        try:
            _obey(shell, commands, is_typed=not commands and _is_terminal(0))
            console.close()
        except BaseException:
            console.abort()
            raise
        if catalog.streams.broken is not None:
            raise catalog.streams.broken
    return int(shell.has_failed)


@contextmanager
def _opened(source: Input, overlaps: str, *, keeps_index: bool) -> Iterator[tuple[Input, Catalog]]:
    """Read the capture; give it as it can be read again, and its conversations."""
    with _readable_again(source) as again:
        catalog = _catalog(again, overlaps, keeps_index=keeps_index)
        with closing(catalog.streams):
            yield again, catalog


def _obey(shell: Shell, commands: tuple[str, ...], *, is_typed: bool) -> None:
    """Obey commands until there are no more; what cannot be done ends a script, and is told to who types."""
    from tcpsight.cli.streams_prompt import lines_of_input, split, typed

    lines: Iterable[str] = commands or (typed(shell.complete) if is_typed else lines_of_input())
    for line in lines:
        for command in split(line):
            try:
                if not shell.obey(command):
                    return
            except TcpsightError as error:
                if not is_typed:
                    raise
                print(f"{printable(str(error))}", file=sys.stderr)
            except KeyboardInterrupt:
                if not is_typed:
                    raise
                print(file=sys.stderr)


def _browse(catalog: Catalog, source: Input) -> int:
    from tcpsight.ui.streams_screen import run_streams_screen

    return run_streams_screen(catalog, ", ".join(map(str, source.sources)), values.zone(source.timezone))


def _catalog(source: Input, overlaps: str, *, keeps_index: bool) -> Catalog:
    """Read the capture, or the index of an earlier look."""
    from tcpsight.cli.notes import warn
    from tcpsight.conversations.catalog import Catalog
    from tcpsight.saved_index import SavedIndex
    from tcpsight.streams import CapturedStreams

    analysis = source.analysis()
    saved = None
    if keeps_index and len(source.sources) == 1:
        saved = SavedIndex(analysis)
        saved = saved if saved.is_worth_it else None
    notes: list[str] = [] if saved is None else saved.notes
    streams = CapturedStreams(analysis, overlaps, watch=_watch(source, notes), saved=saved)  # type: ignore[arg-type]
    if streams.is_from_index and saved is not None:
        for note in saved.notes:
            warn(note)
    return Catalog(analysis, streams)


def _watch(source: Input, told: list[str]) -> Callable[[Run], Iterator[Batch]]:
    """Show how far reading is, and say what was not understood, which is kept in `told`."""
    from tcpsight.cli.notes import conclude, note_lines, warn
    from tcpsight.cli.running import watched

    def watch(run: Run) -> Iterator[Batch]:
        yield from watched(run, source.progress, ExitStack())
        told.extend(note_lines(run))
        for note in told:
            warn(note)
        if run.pipeline.broken is None or not run.pipeline.segments:
            conclude(run, shows_unseen=True)  # else what there is can be looked at; the break is told in the end

    return watch


@contextmanager
def _readable_again(source: Input) -> Iterator[Input]:
    """Copy what comes through a pipe, or from afar, to a temporary file: segments are read when they are asked for."""
    from tcpsight.capture.remote import is_remote

    if source.is_readable_again and not any(is_remote(each) for each in source.sources):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="tcpsight-") as folder:
        sources = [_copied(each, Path(folder) / f"{i}") for i, each in enumerate(source.sources)]
        yield replace(source, sources=sources)


def _copied(source: Any, path: Path) -> Any:
    if isinstance(source, str) and source != "-" and (Path(source).is_file() or Path(source).is_dir()):
        return source  # of a folder reading tells what is wrong with it
    name = source if isinstance(source, str) else "standard input"
    from tcpsight.capture.remote import is_remote, open_remote

    if is_remote(source):
        afar, _ = open_remote(source)
        with closing(afar), path.open("wb") as copy:
            shutil.copyfileobj(afar, copy, 1 << 20)
        return str(path)
    try:
        with path.open("wb") as copy:
            if source == "-":
                shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
            elif isinstance(source, str):
                with Path(source).open("rb") as given:
                    shutil.copyfileobj(given, copy, 1 << 20)
            else:
                shutil.copyfileobj(source, copy, 1 << 20)
    except OSError as error:
        raise CaptureError(name, -1, f"cannot be opened: {error.strerror or error}") from None
    return str(path)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
