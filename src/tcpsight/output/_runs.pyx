"""Writes runs of bytes that lie apart in memory to several files, straight from where they are.

The system is given lists of runs, so a file takes few calls however short its runs are, and nothing is copied before.
What can be refused is refused before anything is written.
"""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t
from posix.types cimport off_t
from posix.uio cimport iovec

cdef extern from "<sys/uio.h>" nogil:
    ssize_t pwritev(int descriptor, const iovec *runs, int count, off_t offset)

cdef enum:
    # IOV_MAX of Linux; more runs than this take another call.
    MOST_RUNS = 1024
    # What shares tell of each: the file's descriptor, where in it to begin, and which runs.
    DESCRIPTOR = 0
    OFFSET = 1
    FIRST = 2
    LAST = 3
    SHARE_COLUMNS = 4


cdef int write_list(int descriptor, iovec *runs, int count, off_t offset) noexcept nogil:
    """Write a list of runs, which is used up; give 0, or −1 and an error number."""
    cdef ssize_t done
    while count:
        done = pwritev(descriptor, runs, count, offset)
        if done < 0:
            if errno == EINTR:
                continue
            return -1
        offset += done
        while count and <size_t>done >= runs.iov_len:
            done -= runs.iov_len
            runs += 1
            count -= 1
        if count:
            runs.iov_base = <char *>runs.iov_base + done
            runs.iov_len -= done
    return 0


cdef int write_share(
    const int64_t *share, const unsigned char *data, const int64_t *positions, const int64_t *lengths
) noexcept nogil:
    """Write what one file gets; give 0, or −1 and an error number."""
    cdef iovec runs[MOST_RUNS]
    cdef int64_t i = share[FIRST], offset = share[OFFSET], bytes_listed
    cdef int count
    while i < share[LAST]:
        count = 0
        bytes_listed = 0
        while i < share[LAST] and count < MOST_RUNS:
            runs[count].iov_base = <void *>(data + positions[i])
            runs[count].iov_len = <size_t>lengths[i]
            bytes_listed += lengths[i]
            count += 1
            i += 1
        if write_list(<int>share[DESCRIPTOR], runs, count, <off_t>offset) != 0:
            return -1
        offset += bytes_listed
    return 0


def write_runs(
    const int64_t[:, ::1] shares,  # IN: descriptor, offset in the file, first run and one past the last of each
    const unsigned char[::1] data,  # IN: where bytes lie
    const int64_t[::1] positions,  # IN: where each run begins
    const int64_t[::1] lengths,  # IN: how long it is
):
    """Write to each file its runs behind each other.

    Raises
    ------
    OSError
        A file takes no more, or the bytes are not in memory (EFAULT): a file that was mapped is shorter now.
    ValueError
        A run lies outside the data, or a share outside the runs.
    """
    cdef int64_t n = positions.shape[0]
    cdef int64_t i
    cdef int outcome = 0
    if lengths.shape[0] != n or shares.shape[1] != SHARE_COLUMNS:
        raise ValueError("positions and lengths, or the columns of shares, are not as many as they should be")
    for i in range(n):
        if lengths[i] < 0 or positions[i] < 0 or lengths[i] > data.shape[0] - positions[i]:
            raise ValueError(f"run {i} lies outside the data")
    for i in range(shares.shape[0]):
        if not 0 <= shares[i, FIRST] <= shares[i, LAST] <= n or shares[i, OFFSET] < 0:
            raise ValueError(f"share {i} lies outside the runs")
    if n == 0 or shares.shape[0] == 0:
        return
    with nogil:
        for i in range(shares.shape[0]):
            outcome = write_share(&shares[i, 0], &data[0], &positions[0], &lengths[0])
            if outcome != 0:
                break
    if outcome != 0:
        PyErr_SetFromErrno(OSError)
