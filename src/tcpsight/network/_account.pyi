"""The loop over segments that keeps time accounts."""

from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

SLOT_BYTES: int
TURN_BYTES: int

def account(
    inputs: tuple[Block, Block, Block, Block], slots: Block, turns: Block, outputs: tuple[Block, Block]
) -> tuple[int, int]: ...
