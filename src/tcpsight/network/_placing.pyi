"""The loop over segments that tells where connections were captured."""

from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]

SLOT_BYTES: int

def place(
    segments: Block, headers: Block, boundaries: Block, connections: Block, slots: Block, accounts: Block
) -> int: ...
