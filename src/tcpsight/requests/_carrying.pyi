from typing import Any

import numpy as np

def held_by(slots: np.ndarray[Any, np.dtype[np.uint8]], numbers: np.ndarray[Any, np.dtype[np.int64]]) -> int: ...
