from typing import Any

from numpy import int64
from numpy.typing import NDArray

def write_runs(shares: NDArray[int64], data: Any, positions: NDArray[int64], lengths: NDArray[int64]) -> None: ...
