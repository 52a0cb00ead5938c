"""The loop over segments."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Block = np.ndarray[Any, np.dtype[np.uint8]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

class Tracker:
    """State of every open connection."""

    def __init__(
        self, timeouts: Sequence[int], servers: Sequence[tuple[bytes | None, int, int]], seed: int, most: int
    ) -> None: ...
    @property
    def open_count(self) -> int: ...
    @property
    def furthest_back_ns(self) -> int: ...
    def feed(
        self,
        headers: Block,
        segments: Block,
        counts: Counts,
        until_ns: int | None,
        times: np.ndarray[Any, np.dtype[np.int64]] | None = None,
        rows: np.ndarray[Any, np.dtype[np.int32]] | None = None,
    ) -> tuple[int, bool, bytearray, bytearray]: ...
    def snapshot(self) -> bytearray: ...
    def slots(self) -> bytearray: ...
    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> bytearray: ...
    def restore(self, carried: Block, count: int, most_id: int) -> bytearray: ...
    def clock(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[int, ...]: ...
    def set_clock(self, told: Sequence[int]) -> None: ...
    def finish(self, counts: Counts) -> tuple[bool, bytearray, bytearray]: ...

STATE_BYTES: int
