"""What each side of each connection of a capture sent, on demand: the index on disk, the bytes where they are.

Theory of operation
-------------------
One pass writes the index: a row per captured run of payload and one per stream, in memory as long as they are few, then
in a temporary file without a name. Bytes stay in the capture file and are read from there when asked for. What is no
plain file (a pipe, compressed data, text, several files merged) cannot be gone back to: payload is then copied to a
temporary file, once, as it comes. So memory holds neither payload nor, of a large capture, its index.

What it cannot see: that a capture file was changed after it was indexed, as long as it did not become shorter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from tcpsight.connections.overlaps import Policy
from tcpsight.connections.searching import MOST_BYTES, Chains, Holding, PieceSearch
from tcpsight.connections.stream_index import pieces_of
from tcpsight.connections.streams import Block, Bounds, Conflict, Read, Stream, dialogue
from tcpsight.payload import Lacking, PayloadStore, Stretch, no_room, write_all
from tcpsight.saved_index import Kept
from tcpsight.tables import DIRECTIONS, INT64_MIN, OPTION_FRAGMENTED, Connections, Headers, Pieces, Streams, Table

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.errors import CaptureError
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run
    from tcpsight.saved_index import SavedIndex

__all__ = [
    "Block",
    "Bounds",
    "CapturedStreams",
    "Conflict",
    "Conversation",
    "PayloadStore",
    "Pieces",
    "Policy",
    "Read",
    "Stream",
]

SEARCHED_PIECES = 1 << 16

Mask = np.ndarray[Any, np.dtype[np.bool_]]

MEMORY_BYTES = 512 << 20
"""Rows of each kind that are kept in memory: those of 8 million segments. Beyond, they go to a temporary file."""

Watch = Callable[["Run"], Iterable["Batch"]]


class _Rows:
    """Rows that are added and later looked at in any order: on disk where they are many."""

    def __init__(self, table_type: type[Table]) -> None:
        # Not zeroed: pages that no row ever reaches cost nothing.
        self._rows = np.empty(max(MEMORY_BYTES // table_type.dtype.itemsize, 1), table_type.dtype)
        self._bytes = self._rows.view(np.uint8)
        self._filled = 0
        self._file: IO[bytes] | None = None

    def add(self, table: Table) -> None:
        """Take a copy of rows."""
        rows, room = table.rows, len(self._rows)
        for first in range(0, len(rows), room):
            some = rows[first : first + room]
            if self._filled + len(some) > room:
                self._flush()
            # As bytes: NumPy copies structured rows field by field, which takes ten times as long.
            size = self._rows.itemsize
            packed = np.ascontiguousarray(some).view(np.uint8)
            self._bytes[self._filled * size : (self._filled + len(some)) * size] = packed
            self._filled += len(some)

    def _flush(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            write_all(self._file, self._rows[: self._filled].view(np.uint8))
        except OSError as error:
            raise no_room(error) from None
        self._filled = 0

    def all(self) -> np.ndarray[Any, Any]:
        """Give all rows, shape (n,)."""
        if self._file is None:
            return self._rows[: self._filled]
        self._flush()
        return np.memmap(self._file, self._rows.dtype, "r")


class Conversation:
    """What the two sides of one connection said.

    Attributes
    ----------
    connection : numpy.void
        Its `Connections` row.
    client, server : Stream
        What each of them sent.
    is_text : bool
        Whether it was captured as tcpdump text, which has no payload.

    Examples
    --------
    >>> streams = tcpsight.open("examples/streams/redis-slow.pcap").streams()
    >>> talk = streams[326]
    >>> talk, talk.connection_id, talk.is_complete
    (<Conversation 326: 224 bytes asked, 38 answered>, 326, True)
    >>> [(block.direction, block.offset, len(block.data)) for block in talk.dialogue()]
    [('client', 0, 14), ('server', 0, 7), ('client', 14, 210), ('server', 7, 31)]
    >>> talk.lacking("client")
    Lacking(cut_bytes=0, fragment_bytes=0, text_bytes=0)

    What one side sent:

    >>> asked = talk.client
    >>> asked, asked.is_whole, asked.is_finished, asked.missing_bytes, asked.holes()
    (<Stream of the client: 224 bytes>, True, True, 0, [])
    >>> asked.read(178, 6), list(asked.find(b"orders")), asked.captured_at(178)
    (b'orders', [178], (333, 1795372420069201534))
    >>> [len(block.data) for block in asked.blocks(14)], list(asked.conflicts())
    ([210], [])
    """

    def __init__(
        self,
        connection: np.void,
        client: Stream,
        server: Stream,
        *,
        fragments: tuple[int, int] = (0, 0),
        is_text: bool = False,
    ) -> None:
        self.connection = connection
        self.client = client
        self.server = server
        self._fragments = fragments
        self.is_text = is_text

    @property
    def connection_id(self) -> int:
        """The number of the frame that opened the connection."""
        return int(self.connection["connection_id"])

    @property
    def is_complete(self) -> bool:
        """Whether both streams are known from their first byte to their last."""
        begins = self.connection["client_isn"] >= 0 and self.connection["server_isn"] >= 0
        return bool(begins) and all(stream.is_whole and stream.is_finished for stream in (self.client, self.server))

    def lacking(self, side: str) -> Lacking:
        """Tell how much of what a side sent is not there though its segments were seen, and why.

        Frames of which no byte of payload was captured are in no index; what they carried is known all the same, for
        the connection's gaps are what no frame carried.
        """
        stream = self.client if side == "client" else self.server
        gaps = int(self.connection[f"{side}_gap_bytes"])
        seen = max(stream.cut_bytes, stream.missing_bytes - gaps if gaps >= 0 else 0)
        # What came in fragments may have been captured when it was sent again.
        fragments = min(self._fragments[DIRECTIONS.index(side)], seen - stream.cut_bytes)
        rest = seen - fragments
        return Lacking(0, fragments, rest) if self.is_text else Lacking(rest, fragments, 0)

    def dialogue(self, *, most: int = 1 << 20) -> Iterator[Block]:
        """Give both sides' bytes in the order in which they could be read; a block holds about `most` bytes at most."""
        return dialogue(self.client, self.server, most=most)

    def __repr__(self) -> str:
        return f"<Conversation {self.connection_id}: {len(self.client)} bytes asked, {len(self.server)} answered>"


class CapturedStreams:
    """The streams of a capture, by `connection_id`; iterating gives each conversation.

    Parameters
    ----------
    analysis : Analysis
        The capture, and which connections of it are wanted.
    overlaps : {"first", "last"}
        Which copy gives a byte that was captured more than once.
    watch : callable
        Gives the batches of the pass, of which it is told.
    saved : SavedIndex, optional
        Where an index may be kept already, and is kept otherwise; the capture is one file that is named.

    Attributes
    ----------
    connections : Connections
        Those that were wanted, by `connection_id`, shape (n,).
    broken : CaptureError or None
        Why the capture ended early; what came before is here.
    lacking : Lacking
        Payload of all segments that were seen, and that is not there.
    is_from_index : bool
        Whether a saved index was used.

    Examples
    --------
    >>> with tcpsight.open("examples/mariadb-lock.pcap").streams() as streams:
    ...     conversation = next(iter(streams))
    ...     block = next(conversation.dialogue())
    ...     print(conversation.connection_id, block.direction, block.offset)
    1 client 0

    Where payload was captured:

    >>> streams = tcpsight.open("examples/streams/redis-slow.pcap").streams()
    >>> streams.connections.connection_id[streams.holding(b"EVAL")].tolist()
    [326]
    >>> streams.stream(326, 1).read(1, 4)
    b'PONG'
    >>> of_it = (streams.pieces["connection_id"] == 326).nonzero()[0]
    >>> len(of_it), len(list(streams.stretches(of_it, 1 << 20)))
    (4, 1)
    >>> streams.close()
    """

    def __init__(
        self, analysis: Analysis, overlaps: Policy = "first", *, watch: Watch = iter, saved: SavedIndex | None = None
    ) -> None:
        self._overlaps = overlaps
        self._store = PayloadStore(analysis.sources)
        self.broken: CaptureError | None = None
        kept = saved.load() if saved is not None else None
        self.lacking = Lacking() if kept is None else kept.lacking
        self.is_from_index = kept is not None
        if kept is not None:
            self._pieces, self._ends = kept.pieces, kept.ends
            self.connections = Connections(kept.connections)
            return
        self._read(analysis, watch)
        if saved is not None and self._is_keepable():
            saved.save(Kept(self._pieces, self._ends, self.connections.rows, self.lacking))

    def _is_keepable(self) -> bool:
        """Whether the index tells all of the capture, and where it is in the file."""
        return self.broken is None and self._store.is_in_place

    def _read(self, analysis: Analysis, watch: Watch) -> None:
        """Read the capture once."""
        pieces, streams, connections = _Rows(Pieces), _Rows(Streams), _Rows(Connections)
        with analysis.run(keep=self._store.keep) as run:
            self._store.note_files(run.capture.files)
            for batch in watch(run):
                self._note_lacking(batch.headers, run)
                pieces.add(batch.pieces)
                streams.add(batch.streams)
                connections.add(batch.connections)
            self.broken = run.pipeline.broken
        self._pieces = pieces.all()
        found = connections.all()
        self.connections = Connections(found[np.argsort(found["connection_id"], kind="stable")])
        ends = streams.all()
        self._ends = ends[np.argsort(ends["connection_id"], kind="stable")]

    def _note_lacking(self, headers: Headers, run: Run) -> None:
        """Add up payload that is not there, by the reason why."""
        lengths = headers.payload_bytes - headers.captured_payload_bytes
        if not lengths.any():
            return
        texts = [file.index for file in run.capture.files if file.is_text]
        in_fragments = int(lengths[headers.options & OPTION_FRAGMENTED != 0].sum(dtype=np.int64))
        in_text = int(
            lengths[np.isin(headers.file, texts) & (headers.options & OPTION_FRAGMENTED == 0)].sum(dtype=np.int64)
        )
        cut, fragments, text = self.lacking
        cut += int(lengths.sum(dtype=np.int64)) - in_fragments - in_text
        self.lacking = Lacking(cut, fragments + in_fragments, text + in_text)

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator[Conversation]:
        for row in self.connections:
            yield self._conversation(row)

    def __getitem__(self, connection_id: int) -> Conversation:
        return self._conversation(self._row(connection_id))

    def _row(self, connection_id: int) -> np.void:
        at = int(np.searchsorted(self.connections.connection_id, connection_id))
        if at == len(self.connections) or self.connections.connection_id[at] != connection_id:
            raise KeyError(connection_id)
        row: np.void = self.connections.rows[at]
        return row

    def stream(self, connection_id: int, side: int) -> Stream:
        """Give what one side of a connection sent: 0 for the client, 1 for the server."""
        at = int(np.searchsorted(self._ends["connection_id"], connection_id))
        return self._stream(self._row(connection_id), self._ends[at + side], side)

    def _conversation(self, row: np.void) -> Conversation:
        at = int(np.searchsorted(self._ends["connection_id"], row["connection_id"]))
        ends = self._ends[at : at + 2]
        client, server = (self._stream(row, ends[side], side) for side in (0, 1))
        # Where there is text beside frames, a connection of which no byte was captured is one of the text.
        is_text = self.lacking.text_bytes > 0 and client.captured_bytes == server.captured_bytes == 0
        fragments = int(ends[0]["fragment_bytes"]), int(ends[1]["fragment_bytes"])
        return Conversation(row, client, server, fragments=fragments, is_text=is_text)

    def _stream(self, row: np.void, end: np.void, side: int) -> Stream:
        name = DIRECTIONS[side]
        fin_offset = int(end["fin_offset"])
        return Stream(
            pieces_of(self._pieces, int(end["last_piece"]), int(end["pieces"])),
            self._store.read,
            Bounds(
                int(row[f"{name}_bytes"]),
                None if fin_offset == INT64_MIN else fin_offset,
                bool(row[f"{name}_isn"] >= 0),
            ),
            overlaps=self._overlaps,
            direction=name,
        )

    @property
    def pieces(self) -> np.ndarray[Any, Any]:
        """`Pieces` rows of the whole capture, in the order of capture, shape (n,)."""
        return self._pieces

    def stretches(self, places: np.ndarray[Any, Any], most: int) -> Iterator[Stretch]:
        """Give the bytes of some pieces as they lie in the capture, at most so many at a time."""
        some = self._pieces[places]
        return self._store.stretches(some["file"], some["position"], some["captured_bytes"].astype(np.int64), most)

    def _chains(self) -> Chains:
        rows = self.connections.rows
        ends = self._ends[np.isin(self._ends["connection_id"], rows["connection_id"])]
        sides = [[rows[f"{name}_{what}"] for name in DIRECTIONS] for what in ("bytes", "isn")]
        lengths, isns = (np.stack(both, axis=1).ravel() for both in sides)
        numbers, last, pieces = (np.ascontiguousarray(ends[name]) for name in ("connection_id", "last_piece", "pieces"))
        return Chains(numbers, last, pieces, lengths, isns >= 0)

    def holding(self, pattern: bytes, progress: Callable[[float], object] | None = None) -> Mask:
        """Tell which of `connections` hold some bytes, on either side, shape (n,); and how far looking has come."""
        tell = progress or (lambda share: None)
        is_long = len(pattern) > MOST_BYTES
        found = self._looked_through(pattern, lambda share: tell(share / 2 if is_long else share))
        doubtful = found.doubtful
        if is_long and len(doubtful):
            # Its beginning may stand everywhere, as headers of requests do; its end hardly in the same streams.
            end = self._looked_through(pattern[-MOST_BYTES:], lambda share: tell((1 + share) / 2))
            doubtful = np.intersect1d(doubtful, np.concatenate((end.sure, end.doubtful)))
        numbers = self.connections.connection_id
        holds: Mask = np.isin(numbers, found.sure)
        for at in np.flatnonzero(np.isin(numbers, doubtful)).tolist():
            told = self._conversation(self.connections.rows[at])
            holds[at] = any(next(stream.find(pattern), None) is not None for stream in (told.client, told.server))
        return holds

    def _looked_through(self, pattern: bytes, progress: Callable[[float], object]) -> Holding:
        """Look for bytes, or their first ones, in all payload as it lies in the capture."""
        pieces = self._pieces
        looking = PieceSearch(pieces, pattern, self._chains(), self._overlaps)
        for first in range(0, len(pieces), SEARCHED_PIECES):
            some = pieces[first : first + SEARCHED_PIECES]
            places = (some["file"], some["position"], some["captured_bytes"].astype(np.int64))
            for stretch in self._store.stretches(*places):
                looking.feed(first + stretch.first, first + stretch.last, stretch.data, stretch.origin)
                progress((first + stretch.last) / len(pieces))
        return looking.holding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back files; streams cannot be read any more."""
        self._store.close()

    def __repr__(self) -> str:
        return f"<the streams of {len(self)} connections>"
