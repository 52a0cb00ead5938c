from typing import Any

from numpy import int64, uint8
from numpy.typing import NDArray

class Merger:
    size: int
    exhausted: int
    rows: int
    bytes: int
    frames: int
    top: int
    top_ns: int
    top_bytes: int
    unnumbered: int
    def __init__(self, slots: int) -> None: ...
    def add(self, slot: int, rows: NDArray[uint8], data: Any, interfaces: NDArray[int64]) -> None: ...
    def run(self, until_ns: int) -> int: ...
    def take(self, count: int) -> int: ...
    def merge(self, rows: NDArray[uint8], data: bytearray, until_ns: int) -> None: ...
