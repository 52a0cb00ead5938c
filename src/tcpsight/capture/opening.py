"""A capture of one or several files as one sequence of frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from tcpsight.capture.inputs import Input
from tcpsight.capture.reader import BATCH_FRAMES, BUFFER_BYTES, CaptureFile, CaptureInterface, ReadOptions
from tcpsight.capture.remote import is_remote
from tcpsight.errors import UsageError
from tcpsight.tables import UnseenCounter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from tcpsight.capture.following import Following
    from tcpsight.capture.merging import Merge
    from tcpsight.capture.source import Source
    from tcpsight.capture.stretches import Learnt, Plan
    from tcpsight.errors import CaptureError
    from tcpsight.tables import Frames

MOST_FILES = 65_536
"""`Frames.file` is a 16-bit number."""


class Capture:
    """Frames of one or several sources, in capture order, batch by batch.

    Iterating gives each batch once; a batch is valid until the next is asked for. A source that breaks
    off raises `CaptureError` at the end, when every frame that could be read has been given.

    Attributes
    ----------
    bytes_read_elsewhere : int
        How much somebody else has read of files of which nothing was learnt yet.
    """

    def __init__(self, inputs: Sequence[Input], merge: Merge | None) -> None:
        self._inputs = inputs
        self._merge = merge
        self._unseen = UnseenCounter()
        self._batches = inputs[0].batches() if merge is None else merge.batches()
        self.bytes_read_elsewhere = 0

    @property
    def files(self) -> list[CaptureFile]:
        """The files, in the order given, with what has been learnt about them so far."""
        return [i.file for i in self._inputs]

    @property
    def interfaces(self) -> list[CaptureInterface]:
        """The capture interfaces met so far; `Frames.interface_id` is an index into this list."""
        return self._inputs[0].file.interfaces if self._merge is None else self._merge.interfaces

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood so far; always the same object, brought up to date when asked for."""
        self._unseen.counts[:] = 0
        for each in self._inputs:
            self._unseen.merge(each.file.unseen)
        if self._merge is not None:
            # Each file counted its own frames: the number in the whole capture is not known.
            self._unseen.counts[:, 2] = 0
        return self._unseen

    @property
    def bytes_read(self) -> int:
        """Bytes of the files, as they are stored, read so far."""
        return sum(i.bytes_read for i in self._inputs) + self.bytes_read_elsewhere

    @property
    def bytes_total(self) -> int | None:
        """Bytes of the files, as they are stored; None if one of them is a pipe."""
        totals = [i.file.bytes_total for i in self._inputs]
        known = [t for t in totals if t is not None]
        return sum(known) if len(known) == len(totals) else None

    @property
    def is_named(self) -> bool:
        """Whether others can read it, too: all of it are files by name."""
        return all(i.is_reopenable for i in self._inputs)

    def plan(self) -> Plan:
        """Tell what others need to know who read it in stretches; files without frames are left to this."""
        from tcpsight.capture.stretches import Plan, PlannedFile

        ranked = self._inputs if self._merge is None else self._merge.inputs
        planned = [
            PlannedFile(_place_of(each.file.path), each.file.index, each.file.first_ns)
            for each in ranked
            if self._merge is None or each.file.first_ns is not None
        ]
        self._inputs[0].close()
        return Plan(planned, self._inputs[0].options)

    def learn(self, learnt: Learnt) -> None:
        """Take what was learnt of a stretch; all of them, in their order, and then what this still gives: nothing.

        After the last, iterating raises what a file raised that broke off.
        """
        self.bytes_read_elsewhere = 0
        ranked = self._inputs if self._merge is None else self._merge.inputs
        for at, file in enumerate(learnt.files):
            rank = learnt.begin + at
            failure = ranked[rank].learn(file, learnt.bytes_read[at], learnt.failures.get(rank))
            if failure is not None:
                learnt.failures[rank] = failure
        if self._merge is not None:
            self._merge.learn(learnt)
        else:
            self._batches = _ended(learnt.failures.get(0))

    def __iter__(self) -> Iterator[Frames]:
        return self

    def __next__(self) -> Frames:
        return next(self._batches)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file; standard input and streams that were passed in stay open."""
        try:
            self._batches.close()
        except ValueError:
            return  # a thread waits in it for a pipe that may never go on: it ends with the process
        for each in self._inputs:
            each.close()


def _ended(failure: CaptureError | None) -> Generator[Frames, None, None]:
    """Give no frames, and then raise what there is to raise."""
    yield from ()
    if failure is not None:
        raise failure


def _place_of(path: str) -> str:
    """Tell where a file is for processes that stand elsewhere."""
    return path if is_remote(path) else str(Path(path).absolute())


def open_capture(  # noqa: PLR0913 - each is a question of its own, asked by name
    sources: Sequence[Source],
    *,
    batch_frames: int = BATCH_FRAMES,
    buffer_bytes: int = BUFFER_BYTES,
    input_timezone: str = "UTC",
    stdin: BinaryIO | None = None,
    following: Following | None = None,
    mapped_bytes: int = 0,
    skips_bad: bool = False,
) -> Capture:
    """Open captures as one, in time order; the order in which they are named changes nothing.

    Parameters
    ----------
    sources : sequence of path, ``-`` or open binary file
        At least one. Formats and compression are told by content.
    batch_frames : int
        Rows in a batch at most.
    buffer_bytes : int
        How much is read at a time.
    input_timezone : str
        IANA name of the zone of times that a text capture writes without one.
    stdin : binary file, optional
        What ``-`` means, if not standard input.
    following : Following, optional
        Wait for more at the end of a file that is still being written; of several, the one that begins last.
    mapped_bytes : int
        How much of an only, uncompressed file is mapped at a time; 0, the default, to read it. Whoever looks at the
        bytes of mapped frames asks `Frames.whole` afterwards which of them were true.
    skips_bad : bool
        Leave out what cannot be read of a file, if there are others; `CaptureFile.problem` says what was wrong with it.

    Raises
    ------
    CaptureError
        A source cannot be opened, or is no capture; where these are skipped: all are.
    UsageError
        No source, the same file twice, more than 65,536 files.
    """
    if not sources:
        raise UsageError("no capture was named")
    if len(sources) > MOST_FILES:
        raise UsageError(f"{len(sources)} captures were named; {MOST_FILES} are the most that are read as one")
    # Frames of several files are copied together: nobody would know which of them were true.
    mapped_bytes = mapped_bytes if len(sources) == 1 else 0
    options = ReadOptions(
        max(batch_frames, 1), max(buffer_bytes, 1), input_timezone, mapped_bytes, skips_bad and len(sources) > 1
    )
    inputs = [Input(source, index, options, stdin) for index, source in enumerate(sources)]
    try:
        return Capture(inputs, _begin(inputs, options, following))
    except BaseException:
        for each in inputs:
            each.close()
        raise


def _begin(inputs: list[Input], options: ReadOptions, following: Following | None) -> Merge | None:
    """Open the only file, or put several in order."""
    if len(inputs) == 1:
        inputs[0].following = following
        inputs[0].open()
        return None
    from tcpsight.capture.merging import Merge, ranked

    order = ranked(inputs)
    order[-1].following = following
    return Merge(order, options)
