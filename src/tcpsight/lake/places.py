"""Where a lake lies: a folder, or a place in an object store, which has neither renaming nor locks.

Theory of operation
-------------------
What is put somewhere appears there whole or not at all: in a folder by renaming, in an object store because that is how
it stores objects. Nothing of a lake counts before the manifest names it, which is written last.

What it cannot see: whether somebody else adds to a lake in an object store at the same time. That is looked for, by the
manifest, before it is replaced; who does it in the same moment is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcpsight.capture.remote import is_remote, system_of, words

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


ASIDE = ".superseded"
"""Where files are that do not count any more, until the next capture is added: somebody may be reading the lake."""


class Folder:
    """A lake in a folder.

    Parameters
    ----------
    name : str
        As the user named it.
    """

    is_remote = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path(name)

    def read(self, name: str) -> bytes:
        """Give what a file holds; FileNotFoundError if there is none."""
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Replace a file, as a whole or not at all."""
        temporary = self.path / f".{name}-{os.getpid()}"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path / name)
        finally:
            with suppress(OSError):
                temporary.unlink()

    def put(self, made: Path, name: str) -> None:
        """Put a file that was made in its place."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        made.replace(self.path / name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(OSError):
            (self.path / name).unlink()

    def set_aside(self, name: str) -> None:
        """Put a file where only those find it who know of it."""
        with suppress(OSError):
            self.put(self.path / name, f"{ASIDE}/{name}")

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Give the sizes of those files that are there."""
        return {name: (self.path / name).stat().st_size for name in names if (self.path / name).is_file()}

    def opened(self, name: str) -> AbstractContextManager[Any]:
        """Open a file for Arrow."""
        path = self.path / name
        if not path.exists():
            path = self.path / ASIDE / name
        if not path.is_file():
            raise OSError("no such file" if not path.exists() else "is no regular file")
        return _kept(path)


class Elsewhere:
    """A lake in an object store, or on another file system that fsspec has a driver for.

    Parameters
    ----------
    name : str
        ``SCHEME://…``.

    Raises
    ------
    CaptureError
        The file system cannot be asked.
    UsageError
        fsspec, or its driver for this scheme, is not installed.
    """

    is_remote = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._system, root = system_of(name)
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """Give what an object holds; FileNotFoundError if there is none."""
        data: bytes = self._asked(self._system.cat_file, f"{self._root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace an object, as a whole or not at all."""
        self._asked(self._system.pipe_file, f"{self._root}/{name}", data)

    def put(self, made: Path, name: str) -> None:
        """Send a file that was made to its place."""
        path = f"{self._root}/{name}"
        try:
            self._asked(self._system.put_file, str(made), path)
        except FileNotFoundError:  # where there are folders
            self._asked(self._system.makedirs, path.rpartition("/")[0], exist_ok=True)
            self._asked(self._system.put_file, str(made), path)
        made.unlink()

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with suppress(OSError):
            self._asked(self._system.rm_file, f"{self._root}/{name}")

    def set_aside(self, name: str) -> None:
        """Put an object where only those find it who know of it."""
        with suppress(OSError):
            self._asked(self._system.mv, f"{self._root}/{name}", f"{self._root}/{ASIDE}/{name}")

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Give the sizes of those objects that are there."""
        self._system.invalidate_cache()
        found = self._asked(self._system.find, self._root, detail=True)
        sizes = {path[len(self._root) + 1 :]: int(told["size"] or 0) for path, told in found.items()}
        return {name: sizes[name] for name in names if name in sizes}

    def opened(self, name: str) -> AbstractContextManager[Any]:
        """Open an object for Arrow."""
        opened: AbstractContextManager[Any]
        try:
            opened = self._asked(self._system.open, f"{self._root}/{name}", "rb")
        except FileNotFoundError as error:
            try:
                opened = self._asked(self._system.open, f"{self._root}/{ASIDE}/{name}", "rb")
            except FileNotFoundError:
                raise error from None
        return opened

    def names(self) -> list[str]:
        """Give everything that is there."""
        self._system.invalidate_cache()
        found: list[str] = self._asked(self._system.find, self._root)
        return found

    def _asked(self, function: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
        """Ask the file system; whatever goes wrong there is an OSError with its own words."""
        try:
            return function(*arguments, **how)
        except FileNotFoundError:
            raise
        except Exception as error:  # every driver has errors of its own
            raise OSError(words(error)) from error


Place = Folder | Elsewhere


def place_of(name: str | os.PathLike[str]) -> Place:
    """Tell where a lake of this name lies.

    Parameters
    ----------
    name : path
        A folder, or ``SCHEME://…``.
    """
    text = os.fspath(name)
    return Elsewhere(text) if is_remote(text) else Folder(text)


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    """Arrow opens and closes files by name itself."""
    yield path
