from numpy import int64, uint8
from numpy.typing import NDArray

from tcpsight.capture._mapping import Mapping

MORE: int
FULL: int
BLOCK: int
BAD_LENGTH: int
BAD_TRAILER: int
BAD_INTERFACE: int
BAD_CAPTURED: int

INTERFACE_COLUMNS: int
LINK_TYPE: int
SNAPLEN: int
CLOCK: int
FACTOR: int
OFFSET_NS: int
DROPS: int

MULTIPLY: int
DIVIDE: int
SHIFT: int

class PcapWalk:
    position: int
    need: int
    frames: int
    status: int
    def __init__(
        self,
        *,
        is_swapped: bool,
        header_bytes: int,
        length_order: int,
        tick_ns: int,
        limit: int,
        link_type: int,
        file: int,
    ) -> None: ...
    def walk(self, data: bytes | bytearray | Mapping, start: int, end: int, rows: NDArray[uint8]) -> int: ...

class PcapngWalk:
    position: int
    need: int
    frames: int
    status: int
    is_swapped: bool
    first_interface: int
    interfaces: int
    clamped: int
    first_clamped: int
    untimed: int
    first_untimed: int
    def __init__(self, *, limit: int, file: int) -> None: ...
    def walk(
        self, data: bytes | bytearray | Mapping, start: int, end: int, rows: NDArray[uint8], interfaces: NDArray[int64]
    ) -> int: ...
