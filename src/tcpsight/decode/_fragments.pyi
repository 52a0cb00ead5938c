from typing import Any

import numpy as np

class Fragments:
    joined: int
    def give_up(self, counts: np.ndarray[Any, np.dtype[np.int64]]) -> None: ...
