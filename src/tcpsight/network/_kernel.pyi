from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

SLOT_BYTES: int

class Measures:
    def feed(self, segments: Block, headers: Block, boundaries: Block, slots: int, rows: Block) -> int: ...
    def snapshot(self, rows: Block) -> int: ...
