from typing import Any

import numpy as np

def check(slots: np.ndarray[Any, np.dtype[np.uint8]], numbers: np.ndarray[Any, np.dtype[np.int64]]) -> None: ...
