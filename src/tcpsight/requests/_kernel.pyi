from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

SLOT_BYTES: int

def pair(
    segments: Block,
    boundaries: Block,
    slots: Block,
    outputs: tuple[Block, Block, Block],
    measure: int,
    so_far: tuple[int, int],
    headers: Block | None = None,
) -> tuple[int, int, int, int, int]: ...
def waiting(
    slots: Block, until_ns: int, measure: int, outputs: tuple[Block, Block, Block], with_counts: bool
) -> tuple[int, int, int]: ...
def still_open(slots: Block, boundaries: Block) -> int: ...
