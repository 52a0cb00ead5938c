from numpy import int64
from numpy.typing import NDArray

def last_options(data: bytes | bytearray, start: int, end: int, is_swapped: bool, found: NDArray[int64]) -> None: ...
