from typing import Any

import numpy as np

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Bits = np.ndarray[Any, np.dtype[np.uint64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]

def doubt(pieces: Bytes, found: Bytes) -> None: ...
def search(
    pieces: Bytes, first: int, last: int, data: Any, origin: int, pattern: bytes, ends: Bits, found: Bytes
) -> None: ...
def search_parts(
    positions: Numbers, lengths: Numbers, data: Any, origin: int, pattern: bytes, ends: Bits, starts: Bits, found: Bytes
) -> None: ...
def join(offsets: Numbers, lengths: Numbers, ends: Bits, starts: Bits, m: int, found: Bytes) -> None: ...
