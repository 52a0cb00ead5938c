"""Keeps which segments are wanted; `_choice.pxd` asks."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tcpsight._door cimport rows_of


cdef class Ways:
    """The ways that wanted segments go.

    Parameters
    ----------
    ways : bytes
        Addresses of sender and receiver, then their ports, 36 bytes each; empty: all segments are wanted.
    """

    def __cinit__(self, const uint8_t[::1] ways not None):
        cdef int64_t count = rows_of(ways, sizeof(Way))
        cdef int64_t i
        if count == 0:
            return
        self.choice.ways = <Way *>malloc(count * sizeof(Way))
        if self.choice.ways == NULL:
            raise MemoryError
        memcpy(self.choice.ways, &ways[0], count * sizeof(Way))
        self.choice.count = count
        for i in range(count):
            self.add(self.choice.ways + i)

    cdef void add(self, const Way *way) noexcept:
        cdef uint32_t bit = hash_of(way.source_port, way.destination_port)
        self.choice.hashes[bit >> 3] |= 1 << (bit & 7)

    def __dealloc__(self):
        free(self.choice.ways)
