"""Where answers of ``tcpsight streams`` go: a file, a pipe, or a terminal, which gets nothing that it would obey."""

from __future__ import annotations

import codecs
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import tzinfo
from pathlib import Path
from typing import BinaryIO, cast

from tcpsight.cli.notes import takes_unicode
from tcpsight.cli.streams_files import is_terminal
from tcpsight.errors import UsageError
from tcpsight.output.destination import Destination
from tcpsight.output.drawing import plain
from tcpsight.output.units import printable


class Console:
    """Writes answers.

    Parameters
    ----------
    output : str
        A path, or ``-`` for standard output.
    timezone : tzinfo
        Of instants.

    Attributes
    ----------
    has_unicode : bool
        Whether letters beyond ASCII may be written.
    """

    def __init__(self, output: str, timezone: tzinfo) -> None:
        self.timezone = timezone
        self._is_terminal = sys.stdout.isatty() if output == "-" else is_terminal(output)
        self._is_file = _is_file(output)
        self.has_unicode = takes_unicode(output)
        self._destination = Destination(output)

    @property
    def has_colour(self) -> bool:
        """Whether a terminal shows what is written, and nobody objects to colours."""
        return self._is_terminal and not os.environ.get("NO_COLOR")

    @property
    def binary(self) -> BinaryIO:
        """What takes bytes."""
        return cast(BinaryIO, self._destination)

    def print(self, line: str) -> None:
        """Write a line; whatever a terminal would obey is written out."""
        text = f"{printable(line)}\n"
        self._destination.write((text if self.has_unicode else plain(text)).encode())

    def show_all(self, pieces: Iterable[bytes]) -> None:
        """Write text for people, encoded as UTF-8, whose letters may be spelt otherwise."""
        self.write_all(pieces if self.has_unicode else (plain(piece.decode()).encode() for piece in pieces))

    def write_all(self, pieces: Iterable[bytes]) -> None:
        """Write bytes that are safe, or that no terminal gets."""
        for piece in pieces:
            self._destination.write(piece)

    @contextmanager
    def saying(self, *, is_raw: bool = False) -> Iterator[Callable[[bytes], None]]:
        """Give what writes what a program says, as it comes.

        A file gets the bytes as they are; a terminal, and a pipe, which may lead to a pager and so to one, get text
        in which nothing is obeyed, unless `is_raw`.
        """
        if is_raw or self._is_file:
            yield self._pass
            return
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        held = ""

        def show(data: bytes, *, final: bool = False) -> None:
            nonlocal held
            text = held + decoder.decode(data, final)
            # The carriage return of an end of line may be the last that has come.
            held = "\r" if text.endswith("\r") and not final else ""
            text = text.removesuffix(held).replace("\r\n", "\n").replace("\t", "    ")
            self._pass("\n".join(printable(line) for line in text.split("\n")).encode())

        yield show
        show(b"", final=True)

    def _pass(self, data: bytes) -> None:
        self._destination.write(data)
        self._destination.flush()

    def refuse_terminal(self, why: str) -> None:
        """Make sure that no terminal gets bytes as they are."""
        if self._is_terminal:
            raise UsageError(why)

    def note(self, text: str) -> None:
        """Say on standard error what is no part of the answer."""
        self.flush()
        print(f"tcpsight: note: {printable(text)}", file=sys.stderr)

    def flush(self) -> None:
        """Pass on what was written."""
        self._destination.flush()

    def close(self) -> None:
        """Finish: a file appears under its name."""
        self._destination.close()

    def abort(self) -> None:
        """Give up: a file is left as it was."""
        self._destination.abort()


def _is_file(output: str) -> bool:
    """Tell whether answers stay in a file, under a name or by redirection."""
    with suppress(OSError, ValueError):
        status = os.fstat(sys.stdout.fileno()) if output == "-" else Path(output).stat()
        return stat.S_ISREG(status.st_mode)
    return output != "-"
