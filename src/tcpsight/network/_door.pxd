# The door of this room's kernels: blocks of packed rows are checked here, once, and fetched ahead behind it.
from libc.stdint cimport int64_t, uint8_t

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define tcpsight_prefetch(address) __builtin_prefetch(address)
    #else
    #define tcpsight_prefetch(address) ((void)(address))
    #endif
    """
    void tcpsight_prefetch(const void *address) noexcept nogil


cdef inline int64_t rows_of(const uint8_t[::1] block, size_t row_bytes) except -1:
    """Check a block of packed rows at the door; give its number of rows."""
    if block.shape[0] % row_bytes:
        raise ValueError(f"{block.shape[0]} bytes are not rows of {row_bytes} bytes")
    return block.shape[0] // <int64_t>row_bytes


cdef inline const uint8_t *start_of(const uint8_t[::1] block) noexcept:
    return &block[0] if block.shape[0] else NULL
