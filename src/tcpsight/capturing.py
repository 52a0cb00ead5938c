"""Records live frames, or as much of them as their headers take.

Theory of operation
-------------------
Frames come from `tcpsight.capture`, `tcpsight.decode` tells where the headers of each end and which connection it
belongs to, and `tcpsight.output` writes that much of it. Which connections are recorded, where not all are, depends on
their endpoints alone: whoever samples alike elsewhere records the same ones.

What it cannot see: frames whose headers are longer than what was captured of them; of those all of that is kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import tcpsight
from tcpsight.capture.live import MOST_SNAPLEN
from tcpsight.decode import extents_of
from tcpsight.errors import UsageError
from tcpsight.interface_naming import InterfaceNames, is_naming
from tcpsight.output.packet_files import Counts, PacketFiles, Rotation
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tcpsight.tables import FLAG_FIN, FLAG_RST, FLAG_SYN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcpsight.capture.live import LiveCapture
    from tcpsight.decode import Extents
    from tcpsight.output.packet_files import Encoder
    from tcpsight.tables import Frames

HEADERS_BYTES = 256
"""Room for all headers of a frame, those of tunnels too."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is recorded.

    Attributes
    ----------
    payload_bytes : int
        How much is kept of each frame behind its headers.
    sample : int
        One in so many connections.
    is_control_only : bool
        Segments with SYN, FIN or RST only.
    most_frames : int or None
        End after so many.
    duration_ns : int or None
        End after so long.
    """

    payload_bytes: int = 0
    sample: int = 1
    is_control_only: bool = False
    most_frames: int | None = None
    duration_ns: int | None = None

    @property
    def snaplen(self) -> int:
        """How much of each frame is to be captured."""
        return min(HEADERS_BYTES + self.payload_bytes, MOST_SNAPLEN)


class Recording:
    """Frames of a live capture on their way to files.

    Parameters
    ----------
    capture : LiveCapture
        Where they come from.
    files : PacketFiles
        Where they go.
    wanted : Wanted
        What is recorded of them.
    encoder : Encoder
        What makes the bytes of the files; of a format that can, interfaces behind `any` are named.

    Attributes
    ----------
    left_out : int
        Frames that were not wanted.
    on_look : callable or None
        Is called now and then, whether or not frames come.
    """

    def __init__(self, capture: LiveCapture, files: PacketFiles, wanted: Wanted, encoder: Encoder) -> None:
        self.left_out = 0
        self.on_look: Callable[[], None] | None = None
        self._taken = 0
        self._capture = capture
        self._files = files
        self._wanted = wanted
        self._is_to_reopen = False
        self._names: InterfaceNames | None = None
        if isinstance(encoder, PcapngEncoder) and is_naming(capture, encoder):
            self._names = InterfaceNames(capture, files, encoder)

    @property
    def written(self) -> int:
        """How many frames stand in the files."""
        return self._files.frames

    @property
    def lost(self) -> int:
        """How many frames could not be written, when all is over."""
        return self._taken - self._files.frames

    def reopen(self) -> None:
        """Begin another file soon; safe to call from a signal handler."""
        self._is_to_reopen = True

    def run(self) -> None:
        """Record until the capture is stopped, or enough was recorded; the file is whole when this ends.

        Raises
        ------
        TcpsightError
            The file cannot be written.
        BrokenPipeError
            Nobody reads standard output any more.
        """
        wanted, begun_ns = self._wanted, time.monotonic_ns()
        try:
            for frames in self._capture:
                if self._is_to_reopen:
                    self._is_to_reopen = False
                    self._files.reopen(self.counts())
                if len(frames):
                    self._take(frames)
                self._files.look(self.counts())
                if self.on_look is not None:
                    self.on_look()
                if wanted.most_frames is not None and self._taken >= wanted.most_frames:
                    break
                if wanted.duration_ns is not None and time.monotonic_ns() - begun_ns >= wanted.duration_ns:
                    self._capture.stop()
        finally:
            self._files.ended_ns = self._capture.files[0].ended_ns
            self._files.finish(self.counts())

    def counts(self) -> list[Counts]:
        """Give what was counted on each interface so far."""
        received = self._capture.received_by_interface
        pairs = zip(received, self._capture.interfaces, strict=True)
        return [Counts(number, each.interface_drops, each.kernel_drops) for number, each in pairs]

    def _take(self, frames: Frames) -> None:
        wanted, extents = self._wanted, extents_of(frames)
        most = len(frames)
        is_kept = _is_kept(wanted, extents)
        if is_kept is not None:
            frames = frames[is_kept]
        if wanted.most_frames is not None:
            frames = frames[: wanted.most_frames - self._taken]
        if not len(frames):
            self.left_out += most
            return
        if self._names is not None:
            self._names.tell(frames)
        header_bytes = extents.header_bytes if is_kept is None else extents.header_bytes[is_kept]
        ends = header_bytes[: len(frames)].astype(np.int64) + wanted.payload_bytes
        kept = np.minimum(ends, frames.captured_bytes).astype(np.uint32)
        self._taken += len(frames)
        self._files.write(frames, kept, self.counts())
        self.left_out += most - len(frames)


def _is_kept(wanted: Wanted, extents: Extents) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Tell which frames are recorded, shape (n,); None for all."""
    if wanted.sample == 1 and not wanted.is_control_only:
        return None
    is_kept = extents.flags >= 0
    if wanted.sample > 1:
        is_kept &= extents.connections % np.uint64(wanted.sample) == 0
    if wanted.is_control_only:
        is_kept &= extents.flags & (FLAG_SYN | FLAG_FIN | FLAG_RST) != 0
    return is_kept


def encoder_for(capture: LiveCapture, file_format: str, expression: str) -> Encoder:
    """Make what writes the frames of a capture.

    Parameters
    ----------
    capture : LiveCapture
        Its interfaces are described.
    file_format : str
        ``pcap`` or ``pcapng``.
    expression : str
        The capture filter, which pcapng keeps.

    Raises
    ------
    UsageError
        Its interfaces have several link types, and a pcap file holds one.
    """
    from tcpsight.output.pcap import PcapEncoder

    interfaces = capture.interfaces
    if file_format == "pcapng":
        described = [DescribedInterface(each.name, each.link_type, each.snaplen, expression) for each in interfaces]
        return PcapngEncoder(described, f"tcpsight {tcpsight.__version__}")
    if len({each.link_type for each in interfaces}) > 1:
        names = ", ".join(each.name for each in interfaces)
        raise UsageError(
            f"{names}: the frames begin with different headers; a pcap file holds one kind, pcapng several"
        )
    return PcapEncoder(interfaces[0].link_type, interfaces[0].snaplen)


__all__ = ["PacketFiles", "Recording", "Rotation", "Wanted", "encoder_for"]
