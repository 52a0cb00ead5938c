from typing import Any

import numpy as np

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]

class StreamEnds:
    def feed(
        self, headers: Bytes, segments: Bytes, boundaries: Bytes, positions: Numbers, pieces: Bytes, streams: Bytes
    ) -> tuple[int, int]: ...

def follow(pieces: Any, last: int, numbers: Numbers) -> None: ...
def follow_all(pieces: Any, lasts: Numbers, counts: Numbers, numbers: Numbers) -> None: ...
def gather(data: Any, positions: Numbers, lengths: Numbers, out: Any) -> int: ...
