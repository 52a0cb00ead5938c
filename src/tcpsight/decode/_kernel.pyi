from typing import Any

import numpy as np

from tcpsight.decode._choice import Ways
from tcpsight.decode._fragments import Fragments

def decode(
    frames: np.ndarray[Any, np.dtype[np.uint8]],
    data: Any,
    headers: np.ndarray[Any, np.dtype[np.uint8]],
    counts: np.ndarray[Any, np.dtype[np.int64]],
    fragments: Fragments,
    ways: Ways,
) -> int: ...
def payload_positions(
    frames: np.ndarray[Any, np.dtype[np.uint8]],
    data: Any,
    headers: np.ndarray[Any, np.dtype[np.uint8]],
    positions: np.ndarray[Any, np.dtype[np.int64]],
) -> None: ...
