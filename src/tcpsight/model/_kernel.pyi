from typing import Any, TypeAlias

import numpy as np

_Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
_Int32s: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
_Int64s: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

LAST_INSTANT_NS: int
BUCKET_COUNT: int

class Sweep:
    latest_ns: int
    outside: int
    def __init__(self, series: int, interval_ns: int, first_ns: int, exact_limit: int, longest_run: int) -> None: ...
    def end_at(self, last_ns: int) -> None: ...
    def take(self, rows: _Bytes, row_bytes: int, codes: _Int32s, *, is_unanswered: bool) -> None: ...
    def sweep(self, out: _Bytes, *, is_over: bool) -> int: ...

def classify(
    rows: _Bytes, row_bytes: int, addresses: _Bytes, ports: _Int32s, codes: _Int32s, *, is_client: bool
) -> None: ...
def add_to_buckets(values: _Int64s, buckets: _Int64s) -> None: ...
def bucket_middles(middles: _Int64s) -> None: ...
