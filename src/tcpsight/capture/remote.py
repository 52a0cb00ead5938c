"""Captures on file systems that are not mounted: object stores, HTTP, HDFS, whatever fsspec has a driver for.

Theory of operation
-------------------
``SCHEME://…`` is handed to fsspec, whose drivers find their credentials where their own tools do (environment,
profiles, the machine's role). A file is read ahead in blocks, from front to back; nothing is kept on disk. Whatever a
driver raises becomes `CaptureError` with its own words: each has errors of its own.

What it cannot see: inodes. The same object named twice is told by its content only, and a file that grows is read to
the end that it had when it was opened.
"""

from __future__ import annotations

import glob
import io
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from tcpsight.errors import CaptureError, UsageError, installing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 8 << 20
"""How much is asked for at a time."""

MOST_ERROR_CHARACTERS = 300

NO_RANGES = "range requests"
"""So fsspec says that an HTTP server gives the whole file whatever part of it is asked for."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def is_remote(source: object) -> bool:
    """Tell whether a source is named by a scheme; ``file://`` is a path.

    Parameters
    ----------
    source : object
        What the user named.
    """
    found = _SCHEME.match(source) if isinstance(source, str) else None
    return found is not None and found[1].lower() != "file"


def matching(url: str) -> list[str]:
    """Give the files that a remote name with ``*``, ``?`` or ``[`` in it means, sorted; itself if it has none.

    Parameters
    ----------
    url : str
        ``SCHEME://…``.

    Raises
    ------
    CaptureError
        The file system cannot be asked.
    UsageError
        fsspec, or its driver for this scheme, is not installed; or it knows no such scheme.
    """
    if not glob.has_magic(_SCHEME.sub("", url)) or url.lower().startswith("http"):
        return [url]
    system, path = system_of(url)
    try:
        return sorted(system.unstrip_protocol(each) for each in system.glob(path))
    except Exception as error:  # every driver has errors of its own
        raise _failure(url, error) from error


def open_remote(url: str) -> tuple[io.RawIOBase, int | None]:
    """Open a file for reading from its front; give its size, too, where that is known.

    Parameters
    ----------
    url : str
        ``SCHEME://…``.

    Raises
    ------
    CaptureError
        It does not exist, or may not be read.
    UsageError
        fsspec, or its driver for this scheme, is not installed; or it knows no such scheme.
    """
    system, path = system_of(url)
    try:
        stream = system.open(path, "rb", block_size=BLOCK_BYTES)
    except Exception as error:  # every driver has errors of its own
        raise _failure(url, error) from error
    return _Stream(stream, partial(system.open, path, "rb", block_size=0)), getattr(stream, "size", None)


class _Stream(io.RawIOBase):
    """A remote file, whose errors are those of a file; where a server gives no ranges, it is read in one go."""

    def __init__(self, stream: Any, in_one_go: Callable[[], Any]) -> None:
        self._stream = stream
        self._in_one_go: Callable[[], Any] | None = in_one_go
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        try:
            try:
                count: int = self._stream.readinto(view)
            except ValueError as error:
                if NO_RANGES not in str(error) or self._in_one_go is None:
                    raise
                self._begin_anew(self._in_one_go)
                count = self._stream.readinto(view)
        except Exception as error:  # every driver has errors of its own
            raise OSError(words(error)) from error
        self._done += count
        return count

    def _begin_anew(self, in_one_go: Callable[[], Any]) -> None:
        """Read the file again from its front, up to where it was read."""
        self._in_one_go = None
        self._stream.close()
        self._stream = in_one_go()
        left = self._done
        while left:
            skipped = len(self._stream.read(min(left, BLOCK_BYTES)))
            if not skipped:
                raise OSError(f"the file ends after {self._done - left:,} bytes now")
            left -= skipped

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()


def system_of(url: str) -> tuple[Any, str]:
    """Give the file system of a name, and the name there.

    Parameters
    ----------
    url : str
        ``SCHEME://…``.

    Raises
    ------
    CaptureError
        It cannot be asked.
    UsageError
        fsspec, or its driver for this scheme, is not installed; or it knows no such scheme.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(f"{url}: files elsewhere need fsspec: {installing('remote')}") from None
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {words(error)}") from error
    except Exception as error:  # every driver has errors of its own
        raise _failure(url, error) from error
    return system, path


def _failure(url: str, error: Exception) -> CaptureError:
    # Of a file that is not there drivers say no more than the name, often.
    is_gone = isinstance(error, FileNotFoundError) and error.__cause__ is None
    return CaptureError(url, -1, f"cannot be opened: {'no such file' if is_gone else words(error)}")


def words(error: BaseException) -> str:
    """Give what a driver says in a line, with what it says is behind it.

    Parameters
    ----------
    error : exception
        What it raised.
    """
    said = list(dict.fromkeys(_chain(error)))
    text = ": ".join(said)
    return text if len(text) <= MOST_ERROR_CHARACTERS else f"{text[: MOST_ERROR_CHARACTERS - 1]}…"


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
        error = error.__cause__
