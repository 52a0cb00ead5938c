from typing import Any, TypeAlias

import numpy as np

_Int64s: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

def group(
    rows: np.ndarray[Any, np.dtype[np.uint8]],
    row_bytes: int,
    places: _Int64s,
    order: _Int64s,
    firsts: _Int64s,
    counts: _Int64s,
) -> int: ...
