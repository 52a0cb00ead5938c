"""Where answers of ``tcpsight streams`` go: a file, a pipe, or a terminal, which gets nothing that it would obey."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import tzinfo
from typing import BinaryIO, cast

from tcpsight.errors import UsageError
from tcpsight.output.destination import Destination
from tcpsight.output.units import printable


class Console:
    """Writes answers.

    Parameters
    ----------
    output : str
        A path, or ``-`` for standard output.
    timezone : tzinfo
        Of instants.
    """

    def __init__(self, output: str, timezone: tzinfo) -> None:
        self.timezone = timezone
        self._is_terminal = output == "-" and sys.stdout.isatty()
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
        self._destination.write(f"{printable(line)}\n".encode())

    def write_all(self, pieces: Iterable[bytes]) -> None:
        """Write bytes that are safe, or that no terminal gets."""
        for piece in pieces:
            self._destination.write(piece)

    def show(self, data: bytes) -> None:
        """Write what a program said: on a terminal as text that it does not obey."""
        if self._is_terminal:
            text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").replace("\t", "    ")
            data = "\n".join(printable(line) for line in text.split("\n")).encode()
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
