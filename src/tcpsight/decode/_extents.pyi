from typing import Any

import numpy as np

def extents(
    frames: np.ndarray[Any, np.dtype[np.uint8]],
    data: Any,
    header_bytes: np.ndarray[Any, np.dtype[np.int32]],
    flags: np.ndarray[Any, np.dtype[np.int32]],
    connections: np.ndarray[Any, np.dtype[np.uint64]],
) -> None: ...
