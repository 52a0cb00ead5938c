from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

ENTRY_BYTES: int
FLAGS: dict[str, int]

def explain(rows: Block, bucket: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float]: ...

class Logs:
    def feed(self, segments: Block, headers: Block, boundaries: Block, slots: int) -> int: ...
    def exchange(self, i: int) -> tuple[bytes, bytes]: ...
    def memory(self) -> int: ...
