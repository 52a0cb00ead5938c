"""Reads numbers of either byte order from wherever they stand."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define swap16(x) __builtin_bswap16(x)
    #define swap32(x) __builtin_bswap32(x)
    #define swap64(x) __builtin_bswap64(x)
    """
    uint16_t swap16(uint16_t value) noexcept nogil
    uint32_t swap32(uint32_t value) noexcept nogil
    uint64_t swap64(uint64_t value) noexcept nogil


cdef inline uint16_t load16(const uint8_t *at, bint is_swapped) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return swap16(value) if is_swapped else value


cdef inline uint32_t load32(const uint8_t *at, bint is_swapped) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return swap32(value) if is_swapped else value


cdef inline uint64_t load64(const uint8_t *at, bint is_swapped) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return swap64(value) if is_swapped else value
