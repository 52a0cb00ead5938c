"""Frames that may be given away to a file: pcap or pcapng in nanoseconds, which tells nothing of any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpsight.anonymity.rebuilding import LINK_TYPE_ETHERNET
from tcpsight.errors import UsageError
from tcpsight.output.pcap import PcapEncoder
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder, described

if TYPE_CHECKING:
    from tcpsight.output.destination import Destination
    from tcpsight.output.packet_files import Counts
    from tcpsight.tables import Frames

SNAPLEN = 262_144


class FrameWriter:
    """Write frames.

    Parameters
    ----------
    destination : Destination
        Where to.
    file_format : str
        ``pcap``, which holds one interface, or ``pcapng``, in which interfaces are called by their numbers.
    """

    def __init__(self, destination: Destination, file_format: str) -> None:
        self._destination = destination
        self._interfaces = 0
        self._encoder: PcapEncoder | PcapngEncoder
        if file_format == "pcap":
            self._encoder = PcapEncoder(LINK_TYPE_ETHERNET, SNAPLEN)
        else:
            self._encoder = PcapngEncoder([], "tcpsight anonymize", tells_system=False)
        self._destination.write(self._encoder.begin())

    def write(self, frames: Frames) -> None:
        """Write the next frames.

        Raises
        ------
        UsageError
            They are of several interfaces, and the file holds one.
        """
        if not len(frames):
            return
        self._describe(int(frames.interface_id.max()) + 1)
        self._destination.write(self._encoder.frames(frames, frames.captured_bytes.copy()))

    def finish(self, dropped: Counts) -> None:
        """Tell what was dropped while it was captured, if anything is known of it."""
        if any(count for count in dropped):
            self._describe(1)
            self._destination.write(self._encoder.statistics([dropped], 0, 0))

    def _describe(self, interfaces: int) -> None:
        """Describe interfaces that have none yet."""
        if isinstance(self._encoder, PcapEncoder):
            if interfaces > 1:
                raise UsageError("its frames are of several interfaces, and pcap holds one: name the file .pcapng")
            return
        while self._interfaces < interfaces:
            told = DescribedInterface(f"interface {self._interfaces}", LINK_TYPE_ETHERNET, SNAPLEN)
            self._destination.write(described(told))
            self._interfaces += 1
