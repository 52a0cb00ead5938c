import numpy as np

Floats = np.ndarray[tuple[int], np.dtype[np.float64]]

def misfits(
    rows: np.ndarray[tuple[int], np.dtype[np.uint8]],
    buckets: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    fills_in_runs: bool,
    out: Floats,
) -> None: ...
