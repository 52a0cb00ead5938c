from typing import Any

import numpy as np

def search(
    pieces: np.ndarray[Any, np.dtype[np.uint8]],
    first: int,
    last: int,
    data: Any,
    origin: int,
    pattern: bytes,
    ends: np.ndarray[Any, np.dtype[np.uint64]],
    found: np.ndarray[Any, np.dtype[np.uint8]],
) -> None: ...
