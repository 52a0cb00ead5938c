"""Loop over headers that hands each to the part its connection belongs to."""

from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

def divide(
    headers: Block,
    part_of: Block,
    blocks: list[tuple[Block, np.ndarray[Any, np.dtype[np.int32]]]],
    times: np.ndarray[Any, np.dtype[np.int64]],
) -> list[int]: ...
