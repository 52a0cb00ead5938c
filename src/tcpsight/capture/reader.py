"""What a reader of one file format is: bytes in, batches of `Frames` out.

A reader knows one format and one file. It is made by `open_capture` once the first bytes have told
which format it is, and is then asked for batches until it has none. Numbering through several files,
merging and interface numbers through the whole capture happen outside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tcpsight.tables import UnseenCounter

if TYPE_CHECKING:
    from tcpsight.tables import Frames

BATCH_FRAMES = 32_768
"""Rows in a batch at most: what Python costs per batch weighs more than tables that outgrow an L2 cache of 2 MB."""

BUFFER_BYTES = 2 * 1024 * 1024
"""How much is read at a time. With 96-byte frames an eighth costs 30 % more CPU, and twice as much gains nothing."""

MAPPED_BYTES = 8 * 1024 * 1024
"""How much of a file is mapped at a time. Frames of 1,500 bytes make batches of 5,500 then; with a quarter what Python
costs per batch would weigh, and four times as much gains nothing, but counts as memory of the process."""

FRAME_LIMIT = 16 * 1024 * 1024
"""No frame is longer than this; a length field that says so is damage. (libpcap stops at 256 KiB for network links.)"""

TIME_LIMIT_NS = 2**62 - 1
"""Times are clamped to ±(2⁶² − 1) ns (years 1823 to 2116), so that their differences never overflow."""


@dataclass(slots=True)
class CaptureInterface:
    """One capture interface, as its file describes it.

    Attributes
    ----------
    file : int
        Index of the file in the order given.
    name : str
        Name in the file, or empty.
    link_type : int
        LINKTYPE_ number as it is in the file.
    ticks_per_second : int
        Timestamp resolution: 10**6 for microseconds.
    snaplen : int
        Bytes kept of each frame; 0 where unlimited or unknown.
    interface_drops, kernel_drops : int or None
        Frames dropped by the interface and by the capturing machine; None where the file does not say.
    """

    file: int
    name: str = ""
    link_type: int = 0
    ticks_per_second: int = 10**6
    snaplen: int = 0
    interface_drops: int | None = None
    kernel_drops: int | None = None


@dataclass(slots=True)
class CaptureFile:
    """One file of a capture, and what has been learnt about it so far.

    Attributes
    ----------
    index : int
        Its place in the order given.
    path : str
        As the user named it; ``-`` for standard input.
    format : str
        ``pcap``, ``pcapng``, ``tcpdump text``.
    compression : str
        ``gzip``, ``zstd``, ``lz4``, ``xz``, ``bzip2`` or empty.
    bytes_total : int or None
        Size on disk; None for a pipe.
    first_ns : int or None
        Time of its first frame; None until one was read.
    frames : int
        Frames read so far.
    interfaces : list of CaptureInterface
        In the order in which the file describes them, all sections together.
    unseen : UnseenCounter
        What its reader did not understand; first frames are counted within the file.
    unreadable_line : int or None
        Number of the first line of text that was not understood; None if there is none.
    named_lines : int
        Of the lines of text that were not understood, those with names in place of addresses or ports.
    restarts : int
        How often it was replaced or cut to nothing while it was followed, and read from the start again.
    problem : str
        Why nothing, or nothing more, of it was read, where files that cannot be read are skipped; else empty.
    ended_ns : int or None
        When capturing ended, which may be later than the last frame; None where that is not told, or not yet.
    """

    index: int
    path: str
    format: str = ""
    compression: str = ""
    bytes_total: int | None = None
    first_ns: int | None = None
    frames: int = 0
    interfaces: list[CaptureInterface] = field(default_factory=list)
    unseen: UnseenCounter = field(default_factory=UnseenCounter)
    unreadable_line: int | None = None
    named_lines: int = 0
    restarts: int = 0
    problem: str = ""
    ended_ns: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether it is text that tcpdump printed, and not frames."""
        return self.format == "tcpdump text"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user may choose about reading.

    Attributes
    ----------
    batch_frames : int
        Rows in a batch at most.
    buffer_bytes : int
        How much is read at a time.
    input_timezone : str
        IANA name of the zone of times written without one (text only).
    mapped_bytes : int
        How much of a regular file is mapped at a time, in place of reading it; 0 where files are read.
    skips_bad : bool
        Whether what cannot be read, of several files, is left out and counted.
    """

    batch_frames: int = BATCH_FRAMES
    buffer_bytes: int = BUFFER_BYTES
    input_timezone: str = "UTC"
    mapped_bytes: int = 0
    skips_bad: bool = False


class ByteSource(Protocol):
    """Decompressed bytes of one file, in order."""

    @property
    def path(self) -> str:
        """The file as the user named it, for `CaptureError`."""

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view` with what is there; give how many bytes, 0 only at the end.

        May give fewer bytes than asked (a pipe gives what has arrived).

        Raises
        ------
        CaptureError
            The file cannot be read or decompressed any further; every byte before was given.
        """


class Reader(Protocol):
    """One format's way from bytes to frames.

    Parameters
    ----------
    source : ByteSource
        The bytes, from the very first one.
    file : CaptureFile
        To be completed: `interfaces` (appended before the first frame that uses one) and `unseen`.
    options : ReadOptions
        What the user chose.
    """

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None: ...

    def read(self) -> Frames | None:
        """Give the next batch, at least one frame; None at the end of the file.

        Rows are filled so: `frame_in_file` 1, 2, 3 …, `frame_number` the same (it is corrected outside
        when there are several files), `file` = ``file.index``, `interface_id` = index into
        ``file.interfaces`` (corrected outside, too), `position` = index into `Frames.data`. Rows and
        data are valid until the next call. What has arrived is given at once: a reader asks its source
        for more only when it holds no complete frame.

        Raises
        ------
        CaptureError
            The file is damaged here; every frame before was given by earlier calls.
        """
