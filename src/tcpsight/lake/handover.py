"""What one ingest takes over from the one before it, and leaves to the next: the connections that are open between.

Theory of operation
-------------------
When all frames have been taken, what is known of open connections is written to a file (`tcpsight.carrying`), and only
then they are ended: rows of that are the capture's ending, which counts until a later ingest goes on. That one reads
the file before its first frame, and the ending is told no more. The manifest names file and ending, and forgets them,
as it is replaced: there is no moment in which a connection is there twice, or not at all.

There is one such file in a lake, that of the capture that ends last. A capture goes on from it if it begins no earlier
than that ends, but for `SLACK_NS`, and is read with the same options; otherwise its connections begin anew, and a note
says why.

What it cannot see: whether something is missing between the two captures. It is as in one capture that lacks it.
"""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tcpsight import __version__
from tcpsight.carrying import fingerprint
from tcpsight.continuing import Continuing
from tcpsight.lake.manifest import Manifest, StoredCapture, StoredEnding, StoredState
from tcpsight.lake.partitions import Folders, Partitions
from tcpsight.model.clock_steps import LEAST_NS as SLACK_NS
from tcpsight.model.sketches import Sketching
from tcpsight.output.units import duration
from tcpsight.tables import REASONS, STATES, UnseenCounter

if TYPE_CHECKING:
    from tcpsight.batches import Batch
    from tcpsight.lake.places import Place
    from tcpsight.pipeline import Pipeline

PIECE_BYTES = 1 << 22


class KeptRows:
    """Rows of a capture, or of its ending, on their way into files.

    Attributes
    ----------
    batches, open_connections : int
        How many there were.
    """

    def __init__(self, folder: Path, name: str, tables: tuple[str, ...], folders: Folders) -> None:
        self._partitions = Partitions(folder, name, folders)
        self._sketching = Sketching()
        self._tables = tables
        self.batches = 0
        self.open_connections = 0

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        return self._partitions.rows

    @property
    def parts(self) -> dict[str, int]:
        """The files, and the place of the first row of each."""
        return self._partitions.parts

    def take(self, batch: Batch) -> None:
        """Take the rows of a batch."""
        self._partitions.take("sketches", self._sketching.feed(batch.requests), self.batches)
        for name in self._tables:
            self._partitions.take(name, getattr(batch, name), self.batches)
        self.open_connections += int((batch.connections.state == STATES.index("open")).sum())
        self.batches += 1

    def finish(self) -> None:
        """Write what is held back."""
        self._partitions.take("sketches", self._sketching.finish(), self.batches)
        self._partitions.finish()

    def abort(self) -> None:
        """Close the files as they are."""
        self._partitions.abort()


class Handover:
    """What one ingest takes over, and leaves.

    Parameters
    ----------
    place : Place
        The lake.
    manifest : Manifest
        What it holds.
    capture : StoredCapture
        What is added.
    folder : Path
        Where its files are made.
    tables : tuple of str
        What is kept.

    Attributes
    ----------
    notes : list of str
        Why connections begin anew, or end.
    taken_over : int
        How many connections went on.
    """

    def __init__(
        self, place: Place, manifest: Manifest, capture: StoredCapture, folder: Path, tables: tuple[str, ...]
    ) -> None:
        self.notes: list[str] = []
        self.taken_over = 0
        self._place = place
        self._manifest = manifest
        self._capture = capture
        self._folder = folder
        self._tables = tables
        self._folders = Folders()
        self._rows = [KeptRows(folder, capture.id, tables, self._folders)]
        self._state: StoredState | None = None
        self._pipeline: Continuing | None = None

    def watch(self, pipeline: Pipeline) -> None:
        """Take over at the begin of a pass, and leave at its end, where that can be."""
        if isinstance(pipeline, Continuing):
            self._pipeline = pipeline
            pipeline.at_begin, pipeline.at_end = self._begin, self._end
        elif self._manifest.state is not None and self._manifest.state.connections:
            self.notes.append("connections that were open begin anew: an engine, or --no-carry, takes none over")

    @property
    def parts(self) -> list[str]:
        """Every file that was made."""
        made = [part for each in self._rows for part in each.parts]
        return made if self._state is None else [*made, self._state.part]

    def take(self, batch: Batch) -> None:
        """Take the rows of a batch."""
        self._rows[-1].take(batch)

    def abort(self) -> None:
        """Close the files as they are."""
        for each in self._rows:
            each.abort()

    def finish(self, pipeline: Pipeline) -> None:
        """Write what is held back, and tell it with the capture."""
        self._rows[-1].finish()
        kept, *ending = self._rows
        capture = self._capture
        capture.rows, capture.parts, capture.batches = kept.rows, kept.parts, kept.batches
        capture.open_connections = self._rows[-1].open_connections
        leaps = [list(each) for each in pipeline.clock_leaps.leaps]
        if not ending:
            capture.unseen, capture.leaps = told(pipeline.unseen), leaps
            return
        assert self._pipeline is not None
        certain = [list(each) for each in pipeline.clock_leaps.certain]
        capture.unseen, capture.leaps = told(self._pipeline.unseen_before_end), certain
        capture.ending = StoredEnding(
            ending[0].batches,
            ending[0].rows,
            ending[0].parts,
            told(self._pipeline.unseen_at_end),
            [each for each in leaps if each not in certain],
        )

    def conclude(self, pipeline: Pipeline) -> list[str]:
        """Put the capture into the manifest; give the files that do not count any more."""
        manifest, end_ns = self._manifest, pipeline.clock_steps.clock_ns
        gone: list[str] = []
        if self._capture.after:
            before = next(each for each in manifest.captures if each.id == self._capture.after)
            if before.ending is not None:
                gone += before.ending.parts
            before.ending = None
        if manifest.state is not None and (
            self._state is not None or self._capture.after or _is_later(end_ns, manifest.state.end_ns)
        ):
            gone.append(manifest.state.part)
            manifest.state = None
        if self._state is not None:
            manifest.state = self._state
        manifest.add(self._capture)
        manifest.superseded = gone
        return gone

    # ------------------------------------------------------------------------------------------------ the begin

    def _begin(self, first_ns: int) -> None:
        """Go on where the capture before ended."""
        state = self._manifest.state
        if state is None:
            return
        why = self._why_not(state, first_ns)
        if not why:
            try:
                self._go_on(state)
            except (OSError, ValueError, ArithmeticError) as error:
                why = f"{state.part} cannot be read: {' '.join(str(error).split())}"
        if not why:
            self._capture.after = state.capture
            self.taken_over = state.connections
        elif state.connections:
            self.notes.append(f"connections that were open begin anew: {why}")

    def _why_not(self, state: StoredState, first_ns: int) -> str:
        before = [each for each in self._manifest.captures if each.id == state.capture]
        if (
            not before
            or before[0].ending is None
            or any(each.after == state.capture for each in self._manifest.captures)
        ):
            return "the manifest does not say after what"
        if before[0].options != self._capture.options:
            return "they were ingested with other options"
        if state.fingerprint != fingerprint(__version__):
            return "another version of tcpsight, or another kind of machine, has left them"
        if state.end_ns is not None and first_ns < state.end_ns - SLACK_NS:
            return f"these files begin {duration(state.end_ns - first_ns)} before the end of those that were ingested"
        return ""

    def _go_on(self, state: StoredState) -> None:
        import pyarrow as pa

        assert self._pipeline is not None
        try:
            with ExitStack() as stack:
                source: Any = stack.enter_context(self._place.opened(state.part))
                if isinstance(source, Path):
                    path = source
                else:
                    path = self._folder / "before.zst"
                    with path.open("wb") as copy:
                        _copied(source, copy)
                if path.stat().st_size != state.bytes or _digest(path) != state.digest:
                    raise ValueError("it is damaged")
                file = stack.enter_context(pa.OSFile(str(path), "rb"))
                self._pipeline.go_on(stack.enter_context(pa.CompressedInputStream(file, "zstd")))
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error

    # -------------------------------------------------------------------------------------------------- the end

    def _end(self) -> None:
        """Leave what is open to the next ingest, and keep apart what comes of ending it."""
        import pyarrow as pa

        assert self._pipeline is not None
        before, end_ns = self._manifest.state, self._pipeline.clock_steps.clock_ns
        if end_ns is None:
            return  # without a frame nothing begins, and nothing ends
        if before is not None and not self._capture.after and _is_later(before.end_ns, end_ns):
            self.notes.append("what is open at the end of these files ends with them: others that end later are there")
            return
        part = f"carried/{self._capture.id}.zst"
        path = self._folder / part
        path.parent.mkdir(exist_ok=True)
        with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "zstd") as out:
            count = self._pipeline.carry(out)
        self._state = StoredState(
            self._capture.id, part, path.stat().st_size, _digest(path), fingerprint(__version__), count, end_ns
        )
        self._rows[0].finish()
        self._rows.append(KeptRows(self._folder, f"{self._capture.id}-open", self._tables, self._folders))


def told(unseen: UnseenCounter) -> dict[str, list[int]]:
    """Give what was not understood, by reason."""
    return {reason: counts for reason, counts in zip(REASONS, unseen.counts.tolist(), strict=True) if any(counts)}


def _is_later(instant_ns: int | None, other_ns: int | None) -> bool:
    return instant_ns is not None and (other_ns is None or instant_ns > other_ns)


def _copied(source: BinaryIO, copy: BinaryIO) -> None:
    while piece := source.read(PIECE_BYTES):
        copy.write(piece)


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=32)
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
