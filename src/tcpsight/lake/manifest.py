"""What a lake holds: `manifest.json`, replaced as a whole when a capture has been added."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tcpsight.errors import CaptureError, UsageError
from tcpsight.lake import NAME
from tcpsight.lake.places import Place
from tcpsight.tables import REASONS

FORMAT = "tcpsight lake"
VERSION = 2
"""Of the manifest and of the folders' layout; files say the version of their columns themselves. Since the second one
captures may go on from others."""


STATE_PART = re.compile(r"carried/[0-9a-f]{16}\.zst")
"""What the file of a state is called."""


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
class StoredEnding:
    """What a capture left open, told as if nothing came after it: it counts until a later capture goes on.

    Attributes
    ----------
    batches, rows, parts, unseen, leaps
        See `StoredCapture`.
    """

    batches: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, list[int]] = field(default_factory=dict)
    leaps: list[list[int]] = field(default_factory=list)


@dataclass(slots=True)
class StoredState:
    """What is known of the connections that are open at the end of a capture, for the next one to go on with.

    Attributes
    ----------
    capture : str
        Whose end it is.
    part : str
        The file in the lake.
    bytes, digest : int, str
        Its size, and the BLAKE2b-256 of it.
    fingerprint : str
        Who can read it: see `tcpsight.carrying.fingerprint`.
    connections : int
        How many they are.
    end_ns : int or None
        What the clock showed; what begins before it does not go on from here.
    """

    capture: str
    part: str
    bytes: int
    digest: str
    fingerprint: str
    connections: int
    end_ns: int | None


@dataclass(slots=True)
class StoredCapture:
    """A capture in a lake: the files that were ingested together.

    Attributes
    ----------
    id : str
        What its files in the lake are called: it follows from those that were ingested.
    after : str
        The capture whose connections went on in this one: numbers of frames go on, too. Empty if there is none.
    ending : StoredEnding or None
        What it left open, unless another one has gone on with it.
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
    parts : dict of str to int
        Its files in the lake, and the place of the first row of each.
    unseen : dict of str to list of int
        Of each reason: count, bytes, first frame.
    furthest_back_ns, steps_back, stepped_back_ns : int
        What is known of its clock.
    leaps : list of list of int
        When its clock was set forward: the silence's start and end, and by how much.
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
    parts: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, list[int]] = field(default_factory=dict)
    furthest_back_ns: int = 0
    steps_back: int = 0
    stepped_back_ns: int = 0
    silences: list[list[int]] = field(default_factory=list)
    leaps: list[list[int]] = field(default_factory=list)
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    vlan_tags: int = 0
    has_other_tags: bool = False
    after: str = ""
    ending: StoredEnding | None = None


@dataclass(slots=True)
class Manifest:
    """All captures of a lake.

    Attributes
    ----------
    captures : list of StoredCapture
        In the order of their first segment; those without any come last, and those that go on from another right
        behind it.
    state : StoredState or None
        What the next capture can go on with.
    superseded : list of str
        Files that the last capture took the place of: they were set aside, or are to be removed.
    """

    captures: list[StoredCapture] = field(default_factory=list)
    state: StoredState | None = None
    superseded: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, place: Place) -> Manifest:
        """Read the manifest of a lake; an empty one where there is none.

        Raises
        ------
        CaptureError
            It is damaged, or cannot be read.
        UsageError
            It was written by a newer tcpsight.
        """
        path = f"{place.name.rstrip('/')}/{NAME}"
        try:
            told = json.loads(place.read(NAME).decode())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise CaptureError(path, -1, f"cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise CaptureError(path, -1, f"is damaged: {error}") from error
        try:
            if told["format"] != FORMAT:
                raise CaptureError(path, -1, "is not the manifest of a lake")
            if told["version"] > VERSION:
                raise UsageError(
                    f"{path}: the lake is of version {told['version']}; this tcpsight knows up to {VERSION}"
                )
            return _manifest(told)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CaptureError(path, -1, f"is damaged: {error!r}") from error

    def write(self, place: Place) -> None:
        """Replace the manifest of a lake, as a whole or not at all.

        Raises
        ------
        OSError
            The disk is full, or may not be written.
        """
        told = {"format": FORMAT, "version": VERSION, "captures": [asdict(each) for each in self.captures]}
        told |= {"state": None if self.state is None else asdict(self.state), "superseded": self.superseded}
        place.write(NAME, json.dumps(told, indent=1).encode())

    def add(self, capture: StoredCapture) -> None:
        """Put a capture in its place."""
        ids = [each.id for each in self.captures]
        at = ids.index(capture.after) + 1 if capture.after else len(ids)
        self.captures.insert(at, capture)
        rows = sorted(chains(self.captures), key=lambda row: (row[0].first_ns is None, row[0].first_ns or 0, row[0].id))
        self.captures = [each for row in rows for each in row]

    @property
    def parts(self) -> set[str]:
        """Every file of the lake that counts."""
        named = {part for each in self.captures for part in each.parts}
        named |= {part for each in self.captures if each.ending is not None for part in each.ending.parts}
        return named | ({self.state.part} if self.state is not None else set())

    @property
    def files(self) -> list[StoredFile]:
        """Every file that was ingested."""
        return [file for capture in self.captures for file in capture.files]


def chains(captures: list[StoredCapture]) -> list[list[StoredCapture]]:
    """Give captures that went on from each other together, each behind the one that it went on from."""
    found: list[list[StoredCapture]] = []
    for each in captures:
        if found and each.after and each.after == found[-1][-1].id:
            found[-1].append(each)
        else:
            found.append([each])
    return found


def _manifest(told: dict[str, Any]) -> Manifest:
    state = None
    if told.get("state") is not None:
        state = StoredState(**told["state"])
        _check(state, _STATE)
        if not STATE_PART.fullmatch(state.part):
            raise ValueError(f"part is {state.part[:80]!r}")
    superseded = told.get("superseded", [])
    if not _are_texts(superseded):
        raise ValueError("superseded is no list of files")
    return Manifest([_capture(each) for each in told["captures"]], state, superseded)


def _capture(told: dict[str, Any]) -> StoredCapture:
    files = [StoredFile(**each) for each in told["files"]]
    ending = None if told.get("ending") is None else StoredEnding(**told["ending"])
    capture = StoredCapture(**(told | {"files": files, "ending": ending}))
    for file in files:
        _check(file, _FILE)
    _check(capture, _CAPTURE)
    if ending is not None:
        _check(ending, _ENDING)
    if (capture.first_ns is None) != (capture.last_ns is None):
        raise ValueError("only one of first_ns and last_ns is known")
    return capture


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < MOST


def _is_time(value: object) -> bool:
    return type(value) is int and -MOST <= value < MOST


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_anything(_: object) -> bool:
    return True


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_unseen(value: object) -> bool:
    return isinstance(value, dict) and all(
        reason in REASONS and isinstance(each, list) and len(each) == UNSEEN_NUMBERS and all(map(_is_count, each))
        for reason, each in value.items()
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_spans(value: object, numbers: int = 2) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == numbers and all(map(_is_time, each)) for each in value
    )


def _are_leaps(value: object) -> bool:
    return _are_spans(value, LEAP_NUMBERS)


def _are_interfaces(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and each.keys() == {"name", "link_type", "interface_drops", "kernel_drops"}
        and _is_text(each["name"])
        and _is_time(each["link_type"])
        and all(each[drops] is None or _is_count(each[drops]) for drops in ("interface_drops", "kernel_drops"))
        for each in value
    )


UNSEEN_NUMBERS = LEAP_NUMBERS = 3

MOST = 1 << 62
"""No number of a manifest is larger: sums of some fit 64 bits."""

_KINDS: dict[str, Callable[[object], bool]] = {
    "str": _is_text,
    "int": _is_count,
    "bool": _is_truth,
    "int | None": lambda value: value is None or _is_time(value),
    "dict[str, int]": _are_counts,
    "dict[str, list[int]]": _is_unseen,
    "list[list[int]]": _are_spans,
    "list[dict[str, Any]]": _are_interfaces,
}
"""What the values of attributes must be, by their annotations."""

_FILE = {each.name: _KINDS[str(each.type)] for each in fields(StoredFile)}
_ENDING = {each.name: _KINDS[str(each.type)] for each in fields(StoredEnding)}
_STATE = {each.name: _KINDS[str(each.type)] for each in fields(StoredState)}
_CAPTURE = {each.name: _KINDS.get(str(each.type), _is_anything) for each in fields(StoredCapture)}
_ENDING["leaps"] = _CAPTURE["leaps"] = _are_leaps


def _check(
    told: StoredFile | StoredCapture | StoredEnding | StoredState, kinds: dict[str, Callable[[object], bool]]
) -> None:
    """Look whether every value is what it must be.

    Raises
    ------
    ValueError
        One is not.
    """
    for name, is_right in kinds.items():
        if not is_right(getattr(told, name)):
            raise ValueError(f"{name} is {str(getattr(told, name))[:80]!r}")
