from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

SLOT_BYTES: int

class Measures:
    def feed(
        self,
        segments: Block,
        headers: Block,
        boundaries: Block,
        slots: int,
        rows: Block,
        steps: np.ndarray[Any, np.dtype[np.int32]],
    ) -> int: ...
    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> bytearray: ...
    def restore(self, carried: Block, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> None: ...
    def snapshot(self, rows: Block, begin: int) -> tuple[int, int]: ...
    @property
    def slots(self) -> int: ...
