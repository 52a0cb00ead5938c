from numpy import int64
from numpy.typing import NDArray

from tcpsight.capture._mapping import Mapping

def last_options(
    data: bytes | bytearray | Mapping, start: int, end: int, is_swapped: bool, found: NDArray[int64]
) -> None: ...
