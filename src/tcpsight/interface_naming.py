"""Names the interfaces behind `any`: each frame that all of them gave says by a number which one it came by.

What it cannot see: the name of an interface that went away before its first frame was looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tcpsight.capture.live import MOST_NAME_BYTES
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder, described

if TYPE_CHECKING:
    from tcpsight.capture.live import LiveCapture
    from tcpsight.output.packet_files import Encoder, PacketFiles
    from tcpsight.tables import Frames

ANY = "any"
"""What the interface is called that stands for all; by name, as not every system has rings."""

MOST_NAMED = 250
"""Interfaces of containers come and go: those beyond stay with all the others. Segments tell so many apart."""

NUMBER_AT = 4
"""Where the number stands in the header of LINKTYPE_LINUX_SLL2, most significant byte first."""


def named_bytes(capture: LiveCapture, encoder: Encoder) -> int:
    """Tell how much room the descriptions of interfaces may take that are still to be met.

    Parameters
    ----------
    capture : LiveCapture
        Where frames come from; of a single interface that stands for all, others are met.
    encoder : Encoder
        What makes the bytes of files; one of pcapng names them.
    """
    if not is_naming(capture, encoder):
        return 0
    all_of_them = capture.interfaces[0]
    longest = DescribedInterface("x" * MOST_NAME_BYTES, all_of_them.link_type, all_of_them.snaplen)
    return MOST_NAMED * len(described(longest))


def is_naming(capture: LiveCapture, encoder: Encoder) -> bool:
    """Tell whether files name the interfaces behind one that stands for all."""
    return isinstance(encoder, PcapngEncoder) and [each.name for each in capture.interfaces] == [ANY]


class InterfaceNames:
    """Describe interfaces in a file as they are met, and let frames refer to them.

    Parameters
    ----------
    capture : LiveCapture
        Of all interfaces, whose frames are cooked; it knows their names.
    files : PacketFiles
        Where frames go.
    encoder : PcapngEncoder
        What makes its bytes; it has described the interface that stands for all.
    """

    def __init__(self, capture: LiveCapture, files: PacketFiles, encoder: PcapngEncoder) -> None:
        self._capture = capture
        self._files = files
        self._encoder = encoder
        self._snaplen = capture.interfaces[0].snaplen
        self._link_type = capture.interfaces[0].link_type
        # By the number of the system, sorted, and what each is called in the file; 0 stands for all.
        self._numbers = np.zeros(0, np.int64)
        self._places = np.zeros(0, np.uint32)
        self._named = 0

    def tell(self, frames: Frames) -> None:
        """Put into the rows which interface each frame came by."""
        at = frames.position.astype(np.int64) + NUMBER_AT
        data = np.frombuffer(frames.data, np.uint8)
        numbers = np.zeros(len(frames), np.int64)
        for i in range(4):
            numbers = numbers << 8 | data[at + i]
        for number in np.setdiff1d(numbers, self._numbers).tolist():
            self._meet(number)
        frames.rows["interface_id"] = self._places[np.searchsorted(self._numbers, numbers)]

    def _meet(self, number: int) -> None:
        """Describe an interface that was not seen before."""
        name = self._capture.name_of(number) if self._named < MOST_NAMED else None
        place = 0
        if name is not None:
            self._named += 1
            place = self._named
            self._files.describe(self._encoder.add(DescribedInterface(name, self._link_type, self._snaplen)))
        at = int(np.searchsorted(self._numbers, number))
        self._numbers = np.insert(self._numbers, at, number)
        self._places = np.insert(self._places, at, place)
