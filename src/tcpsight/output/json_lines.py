"""JSON of objects that are no rows of a table, one or one a line; in ASCII, so that no terminal obeys it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self

from tcpsight.output.destination import Destination


def json_text(facts: Mapping[str, Any]) -> str:
    """Write facts as one JSON object: names of files in them may hold anything."""
    return json.dumps(facts, indent=2, allow_nan=False) + "\n"


class JsonLines:
    """An open output of objects; a context manager that closes, or aborts on an exception.

    Parameters
    ----------
    destination : str, os.PathLike or binary file object
        A path, ``-`` for standard output, or an open file. See `Destination`.

    Attributes
    ----------
    lines : int
        Objects written so far.

    Notes
    -----
    Raises `TcpsightError` when the system refuses (disk full) and `BrokenPipeError` when the reader of a pipe has gone.
    """

    def __init__(self, destination: str | os.PathLike[str] | BinaryIO) -> None:
        self.lines = 0
        self._destination = Destination(destination)
        self._encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

    def write(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Write objects, a line each, as they come."""
        for each in objects:
            self._destination.write(f"{self._encode(each)}\n".encode("ascii"))
            self.lines += 1

    def flush(self) -> None:
        """Pass on what was written so far, for a reader who waits."""
        self._destination.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._destination.close()
        else:
            self._destination.abort()
