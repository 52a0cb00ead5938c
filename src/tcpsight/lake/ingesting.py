"""Adds captures to a lake: new files only, each once, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tcpsight.capture.remote import is_remote
from tcpsight.capture.source import open_source
from tcpsight.errors import CaptureError, TcpsightError, UsageError
from tcpsight.lake import NAME
from tcpsight.lake.handover import Handover
from tcpsight.lake.manifest import Manifest, StoredCapture, StoredEnding, StoredFile
from tcpsight.lake.places import ASIDE, Elsewhere, Folder, place_of
from tcpsight.lake.stored_rows import KEPT, TABLES

if TYPE_CHECKING:
    from tcpsight.batches import Batch
    from tcpsight.capture import Capture
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.pipeline import Pipeline

HEAD_BYTES = 1 << 16
"""So much of the beginning of a file tells it from others, with its size."""

PARTIAL = ".partial-"

_OURS = re.compile(r"[0-9a-f]{16}(?:-open)?(?:-\d+)?\.parquet|[0-9a-f]{16}\.zst")


@dataclass(frozen=True, slots=True)
class Ingested:
    """What was added to a lake.

    Attributes
    ----------
    files : int
        How many files were read.
    requests, connections : int
        How many rows came of them.
    open_connections : int
        How many connections were open at the end.
    taken_over : int
        How many were open when the capture before ended, and went on.
    leaves_open : bool
        Whether the next capture can go on with those that are open.
    notes : tuple of str
        Why connections begin anew, or end.
    """

    files: int
    requests: int = 0
    connections: int = 0
    open_connections: int = 0
    taken_over: int = 0
    leaves_open: bool = False
    notes: tuple[str, ...] = ()


class News(NamedTuple):
    """What is to be added.

    Attributes
    ----------
    names : list of str
        What is to be read: new files, and those that cannot be opened.
    files : list of StoredFile
        What new ones are known by.
    bad : list of CaptureError
        Why others cannot be opened.
    known : int
        How many are in the lake already.
    """

    names: list[str]
    files: list[StoredFile]
    bad: list[CaptureError]
    known: int


class Pass(Protocol):
    """A pass over a capture: `tcpsight.run.Run`."""

    capture: Capture
    pipeline: Pipeline
    tags: TagSurvey


class Ingest:
    """A lake that is added to; nobody else may at the same time.

    Parameters
    ----------
    folder : path
        The lake, or ``SCHEME://…`` where it lies elsewhere; it is made if need be.

    Raises
    ------
    TcpsightError
        It cannot be made or locked, or somebody adds to it already.
    UsageError
        The folder holds something else, or is of a newer version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._place = place_of(folder)
        self._stack = ExitStack()
        try:
            self._begin()
        except OSError as error:
            self._stack.close()
            raise TcpsightError(f"{self._place.name}: cannot be made a lake: {error.strerror or error}") from error
        except BaseException:
            self._stack.close()
            raise

    def _begin(self) -> None:
        folder = self._place
        if isinstance(folder, Elsewhere):
            self.manifest = Manifest.read(folder)
            self._known = self._stored_manifest()
            # What somebody sent who was killed before the first manifest is no reason to refuse.
            if self._known is None and not all(_OURS.fullmatch(each.rpartition("/")[2]) for each in folder.names()):
                raise UsageError(f"{folder.name}: is not empty, and no lake: name a new place")
            self._remove(self.manifest.superseded)
            return
        folder.path.mkdir(parents=True, exist_ok=True)
        self._lock(folder.path)
        self.manifest = Manifest.read(folder)
        self._known = self._stored_manifest()
        left = list(folder.path.glob(f"{PARTIAL}*"))
        others = [each for each in folder.path.iterdir() if each not in left and each.name != ".lock"]
        if others and not self.manifest.captures and not (folder.path / NAME).exists():
            raise UsageError(f"{folder.name}: is not empty, and no lake: name a new folder")
        for each in left:  # of somebody who was killed
            shutil.rmtree(each, ignore_errors=True)
        self._remove_strays(folder.path)

    def _remove_strays(self, folder: Path) -> None:
        """Remove files that somebody put in their place who was killed before the manifest named them."""
        named = self.manifest.parts
        for pattern in (*(f"{table}/day=*/service=*/*.parquet" for table in KEPT), "carried/*.zst"):
            for path in folder.glob(pattern):
                if _OURS.fullmatch(path.name) and path.relative_to(folder).as_posix() not in named:
                    with suppress(OSError):
                        path.unlink()

    def _lock(self, folder: Path) -> None:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TcpsightError(f"{folder}: somebody else adds to this lake now") from None

    def _stored_manifest(self) -> bytes | None:
        """Give the manifest as it is stored now, None where there is none."""
        try:
            return self._place.read(NAME)
        except FileNotFoundError:
            return None

    def _work_folder(self, capture_id: str) -> Path:
        """Make the folder where a capture's files are made: beside the lake, or, if that is elsewhere, on this disk."""
        if isinstance(self._place, Folder):
            partial = self._place.path / f"{PARTIAL}{capture_id}"
            partial.mkdir()
            return partial
        return Path(tempfile.mkdtemp(prefix="tcpsight-ingest-"))

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def new(self, sources: Sequence[Any], *, skip_bad: bool = False) -> News:
        """Tell which files are not in the lake yet.

        Parameters
        ----------
        sources : sequence of str
            Files by name.
        skip_bad : bool
            Tell of files that cannot be opened, too: reading them leaves them out and counts them.

        Raises
        ------
        CaptureError
            One cannot be read.
        UsageError
            One is no file, or has grown since it was ingested.
        """
        known = {(each.bytes, each.head) for each in self.manifest.files}
        news = News([], [], [], 0)
        for source in sources:
            if not isinstance(source, str) or source == "-":
                raise UsageError("a lake is made of files: a pipe could not be told from one that was ingested before")
            try:
                file, head = _identified(source)
            except CaptureError as error:
                if not skip_bad:
                    raise
                news.bad.append(error)
                news.names.append(source)
                continue
            if (file.bytes, file.head) in known:
                news = news._replace(known=news.known + 1)
                continue
            self._refuse_grown(file, head)
            known.add((file.bytes, file.head))
            news.names.append(source)
            news.files.append(file)
        return news

    def _refuse_grown(self, file: StoredFile, head: bytes) -> None:
        heads: dict[int, str] = {}
        for each in self.manifest.files:
            # Of one that had no frame nothing is counted twice.
            if each.bytes >= file.bytes or not each.frames:
                continue
            if each.head_bytes not in heads:
                heads[each.head_bytes] = sha256(head[: each.head_bytes]).hexdigest()
            if each.head == heads[each.head_bytes]:
                raise UsageError(
                    f"{file.path}: has grown since it was ingested as {each.path}, from {each.bytes:,} to "
                    f"{file.bytes:,} bytes: its first part would be counted twice; ingest files when they are complete"
                )

    def take(self, run: Pass, batches: Iterator[Batch], files: list[StoredFile], options: dict[str, Any]) -> Ingested:
        """Add a capture.

        Parameters
        ----------
        run : Pass
            A pass over it.
        batches : iterator of Batch
            What the pass gives, with everything that a lake keeps.
        files : list of StoredFile
            What it is made from, of `new`.
        options : dict
            How, for the manifest.

        Raises
        ------
        CaptureError
            The capture breaks off: nothing was added.
        TcpsightError
            The disk is full, or may not be written: nothing was added.
        """
        names = sorted(f"{each.bytes} {each.head}" for each in files)
        capture = StoredCapture(sha256("\n".join(names).encode()).hexdigest()[:16], files, options)
        try:
            partial = self._work_folder(capture.id)
        except OSError as error:
            raise self._unwritten(error) from error
        handover = Handover(self._place, self.manifest, capture, partial, tuple(TABLES))
        handover.watch(run.pipeline)
        is_added = False
        try:
            for batch in batches:
                handover.take(batch)
            if run.pipeline.broken is not None:
                raise run.pipeline.broken
            handover.finish(run.pipeline)
            _describe(capture, run)
            for part in handover.parts:
                self._place.put(partial / part, part)
            if self._stored_manifest() != self._known:
                said = "somebody else has added to this lake meanwhile: nothing was added; ingest again"
                raise TcpsightError(f"{self._place.name}: {said}")
            before, gone = self.manifest.superseded, handover.conclude(run.pipeline)
            self.manifest.write(self._place)
            is_added = True
        except OSError as error:
            handover.abort()
            raise self._unwritten(error) from error
        except BaseException:
            handover.abort()
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if not is_added:
                self._remove(handover.parts)
        self._known = self._stored_manifest()
        self._set_aside(gone, before)
        ending = capture.ending or StoredEnding()
        requests, connections = (capture.rows[name] + ending.rows.get(name, 0) for name in ("requests", "connections"))
        return Ingested(
            len(files),
            requests,
            connections,
            capture.open_connections,
            handover.taken_over,
            capture.ending is not None,
            tuple(handover.notes),
        )

    def _unwritten(self, error: OSError) -> TcpsightError:
        return TcpsightError(f"{self._place.name}: cannot be written: {error.strerror or error}")

    def _set_aside(self, gone: list[str], before: list[str]) -> None:
        """Put what does not count any more where only those find it who are reading the lake."""
        for part in before:
            self._place.remove(f"{ASIDE}/{part}")
        for part in gone:
            if part.endswith(".parquet"):
                self._place.set_aside(part)
            else:
                self._place.remove(part)

    def _remove(self, parts: list[str]) -> None:
        """Remove what was put there in vain; not what somebody else has added, who had the same files."""
        with suppress(OSError, TcpsightError):
            named = Manifest.read(self._place).parts
            for part in parts:
                if part not in named:
                    self._place.remove(part)


def _identified(path: str) -> tuple[StoredFile, bytes]:
    """Tell a file by its size and its beginning; give that, too."""
    if _is_special(path):  # opening a FIFO would wait for whoever writes it
        raise UsageError(f"{path}: a lake is made of files, whose size is known; this has none")
    raw = open_source(path)
    try:
        if raw.bytes_total is None:
            raise UsageError(f"{path}: a lake is made of files, whose size is known; this has none")
        view = memoryview(bytearray(min(raw.bytes_total, HEAD_BYTES)))
        done = 0
        while done < len(view) and (count := raw.readinto(view[done:])):
            done += count
        head = bytes(view[:done])
        return StoredFile(path, raw.bytes_total, len(head), sha256(head).hexdigest()), head
    finally:
        raw.close()


def _is_special(path: str) -> bool:
    """Tell whether a name is that of a device, FIFO or socket."""
    if is_remote(path):
        return False
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False  # opening it will tell
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _describe(capture: StoredCapture, run: Pass) -> None:
    """Note what is known of a capture besides its rows."""
    pipeline = run.pipeline
    capture.frames, capture.segments = pipeline.frames, pipeline.segments
    capture.joined_fragments = pipeline.joined_fragments
    capture.first_ns, capture.last_ns = pipeline.first_ns, pipeline.last_ns
    capture.furthest_back_ns = int(pipeline.unseen.furthest_back_ns)
    capture.steps_back, capture.stepped_back_ns = pipeline.clock_steps.steps, pipeline.clock_steps.back_ns
    capture.silences = [list(each) for each in pipeline.silences.spans]
    capture.vlan_tags, capture.has_other_tags = run.tags.vlan_tags, run.tags.has_others
    capture.interfaces = [
        {
            "name": each.name,
            "link_type": each.link_type,
            "interface_drops": each.interface_drops,
            "kernel_drops": each.kernel_drops,
        }
        for each in run.capture.interfaces
    ]
    read = {each.path: each for each in run.capture.files}
    for file in capture.files:
        with suppress(KeyError):
            known = read[file.path]
            file.format, file.compression = known.format, known.compression
            file.problem, file.frames = known.problem, known.frames
