from typing import Any

from numpy import int64
from numpy.typing import NDArray

def read_runs(descriptor: int, positions: NDArray[int64], lengths: NDArray[int64], out: Any) -> int: ...
