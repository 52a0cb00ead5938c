"""What a lake holds: `manifest.json`, replaced as a whole when a capture has been added."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tcpsight.errors import CaptureError, UsageError

NAME = "manifest.json"
FORMAT = "tcpsight lake"
VERSION = 1
"""Of the manifest and of the folders' layout; files say the version of their columns themselves."""


@dataclass(slots=True)
class StoredFile:
    """A file that was ingested.

    Attributes
    ----------
    path : str
        As the user named it.
    bytes : int
        Its size.
    head_bytes, head : int, str
        The SHA-256 of so many bytes at its beginning.
    format, compression, problem : str
        See `tcpsight.capture.CaptureFile`.
    frames : int
        How many were read of it.
    """

    path: str
    bytes: int
    head_bytes: int
    head: str
    format: str = ""
    compression: str = ""
    problem: str = ""
    frames: int = 0


@dataclass(slots=True)
class StoredCapture:
    """A capture in a lake: the files that were ingested together.

    Attributes
    ----------
    id : str
        What its files in the lake are called: it follows from those that were ingested.
    files : list of StoredFile
        What it was made from.
    options : dict
        How: services whose roles were given, filter, time-outs; as the command has them.
    frames, segments, joined_fragments : int
        How many there were.
    first_ns, last_ns : int or None
        First and last segment.
    batches : int
        In how many its rows are.
    rows : dict of str to int
        How many rows each table has.
    open_connections : int
        How many connections were open at its end.
    parts : list of str
        Its files in the lake.
    unseen : dict of str to list of int
        Of each reason: count, bytes, first frame.
    furthest_back_ns, steps_back, stepped_back_ns : int
        What is known of its clock.
    silences : list of list of int
        When nothing was captured, in nanoseconds.
    interfaces : list of dict
        Name, link type, frames dropped by kernel and interface.
    vlan_tags, has_other_tags : int, bool
        See `tcpsight.capture.tags.TagSurvey`.
    """

    id: str
    files: list[StoredFile]
    options: dict[str, Any]
    frames: int = 0
    segments: int = 0
    joined_fragments: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    batches: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    open_connections: int = 0
    parts: list[str] = field(default_factory=list)
    unseen: dict[str, list[int]] = field(default_factory=dict)
    furthest_back_ns: int = 0
    steps_back: int = 0
    stepped_back_ns: int = 0
    silences: list[list[int]] = field(default_factory=list)
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    vlan_tags: int = 0
    has_other_tags: bool = False


@dataclass(slots=True)
class Manifest:
    """All captures of a lake.

    Attributes
    ----------
    captures : list of StoredCapture
        In the order of their first segment; those without any come last.
    """

    captures: list[StoredCapture] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a lake; an empty one where there is none.

        Raises
        ------
        CaptureError
            It is damaged, or cannot be read.
        UsageError
            It was written by a newer tcpsight.
        """
        path = folder / NAME
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise CaptureError(str(path), -1, f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CaptureError(str(path), -1, f"is damaged: {error}") from error
        try:
            if told["format"] != FORMAT:
                raise CaptureError(str(path), -1, "is not the manifest of a lake")
            if told["version"] > VERSION:
                raise UsageError(
                    f"{path}: the lake is of version {told['version']}; this tcpsight knows up to {VERSION}"
                )
            return cls([_capture(each) for each in told["captures"]])
        except (KeyError, TypeError, AttributeError) as error:
            raise CaptureError(str(path), -1, f"is damaged: {error!r}") from error

    def write(self, folder: Path) -> None:
        """Replace the manifest of a lake, as a whole or not at all.

        Raises
        ------
        OSError
            The disk is full, or may not be written.
        """
        self.captures.sort(key=lambda each: (each.first_ns is None, each.first_ns or 0, each.id))
        told = {"format": FORMAT, "version": VERSION, "captures": [asdict(each) for each in self.captures]}
        temporary = folder / f".{NAME}-{os.getpid()}"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(told, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(folder / NAME)
        finally:
            with suppress(OSError):
                temporary.unlink()

    @property
    def files(self) -> list[StoredFile]:
        """Every file that was ingested."""
        return [file for capture in self.captures for file in capture.files]


def _capture(told: dict[str, Any]) -> StoredCapture:
    files = [StoredFile(**each) for each in told["files"]]
    return StoredCapture(**(told | {"files": files}))


def is_lake(source: object) -> bool:
    """Tell whether a source is the folder of a lake.

    Parameters
    ----------
    source : object
        What the user named.
    """
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        return False
    try:
        return (Path(source) / NAME).is_file()
    except (OSError, ValueError):
        return False
