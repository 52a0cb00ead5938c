"""Finds the options of a pcapng block: a block may hold millions, of which a few are wanted."""

from libc.stdint cimport int64_t, uint8_t, uint16_t

from tcpsight.capture._bytes cimport load16

def last_options(const uint8_t[::1] data, int64_t start, int64_t end, bint is_swapped, int64_t[:, ::1] found):
    """Find the options of a block; the last of each code counts, and what does not fit ends the search.

    Parameters
    ----------
    data : bytes
        The buffer that holds the block.
    start, end : int
        Where its options lie.
    is_swapped : bool
        Whether the section has the other byte order than this machine.
    found : ndarray of int64, shape (codes, 2)
        Filled with place and length of the value of each code; −1 where there is none.
    """
    cdef Py_ssize_t codes = found.shape[0]
    cdef uint16_t code, length
    if start < 0 or end < start or end > data.shape[0] or data.shape[0] == 0:
        raise ValueError("the options lie outside the buffer")
    if found.shape[1] != 2:
        raise ValueError("place and length of an option are two numbers")
    found[:, :] = -1
    with nogil:
        while end - start >= 4:
            code, length = load16(&data[start], is_swapped), load16(&data[start + 2], is_swapped)
            start = start + 4
            if code == 0 or end - start < length:
                break
            if code < codes:
                found[code, 0] = start
                found[code, 1] = length
            start = start + ((length + 3) & ~3)
