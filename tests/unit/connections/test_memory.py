"""What a tracker takes of memory it gives back, and it reads none that it did not write."""

from __future__ import annotations

import ctypes

import pytest

from tcpsight.connections import ConnectionTracking, Server
from tests.support.headers import A_ADDRESS, follow, headers, headers_of, rows_of

LIBRARY = ctypes.CDLL(None)


class Heap(ctypes.Structure):
    """What the C library tells of its heap (mallinfo2, see man 3)."""

    _fields_ = (
        *((f"other_{i}", ctypes.c_size_t) for i in range(4)),
        ("hblkhd", ctypes.c_size_t),
        *((f"other_{i}", ctypes.c_size_t) for i in range(4, 6)),
        ("uordblks", ctypes.c_size_t),
        *((f"other_{i}", ctypes.c_size_t) for i in range(6, 8)),
    )


def bytes_in_use() -> int:
    LIBRARY.mallinfo2.restype = Heap
    heap = LIBRARY.mallinfo2()
    return int(heap.uordblks) + int(heap.hblkhd)


@pytest.mark.skipif(not hasattr(LIBRARY, "mallinfo2"), reason="only the GNU C library tells what of its heap is in use")
@pytest.mark.parametrize("is_finished", [False, True])
def test_a_tracker_gives_all_its_memory_back(is_finished: bool):
    """Its slots, their table and the deadlines of a batch of so many take more than a megabyte each."""
    table = headers_of(rows_of("0 > S seq=1000") * 8000)
    table.source_port[:] = range(1000, 9000)

    def use() -> None:
        tracking = ConnectionTracking()
        tracking.feed(table)
        assert tracking.open_connections == 8000
        if is_finished:
            tracking.finish()

    use()
    before = bytes_in_use()
    use()
    assert bytes_in_use() - before < 100_000


def test_only_those_that_were_named_are_servers():
    """Memory that a tracker gets may hold anything: here it would say that whoever has port 80 is a server."""
    size = 2 * 20  # one server, and room for one more
    every_web_server = bytes(16) + (80).to_bytes(2, "little") + b"\x01\x04"
    LIBRARY.malloc.restype = ctypes.c_void_p
    left = [LIBRARY.malloc(ctypes.c_size_t(size)) for _ in range(3)]
    for each in left:
        ctypes.memmove(each, every_web_server * 2, size)
    for each in left:
        LIBRARY.free(ctypes.c_void_p(each))
    followed = follow([headers("0 > S seq=1000")], servers=[Server(A_ADDRESS, 7, 4)])
    assert followed.one("server_port", "role_source") == (80, "syn")
