from typing import Any

import numpy as np

class Ways:
    def __init__(self, ways: np.ndarray[Any, np.dtype[np.uint8]]) -> None: ...
