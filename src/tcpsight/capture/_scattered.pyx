"""Reads runs of bytes that lie scattered over a file, one behind the other into one buffer, without Python in between."""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t
from posix.types cimport off_t
from posix.unistd cimport pread


def read_runs(
    int descriptor,  # IN: of a file that can be read anywhere
    const int64_t[::1] positions,  # IN: where each run begins in it
    const int64_t[::1] lengths,  # IN: how long it is
    unsigned char[::1] out,  # OUT: the runs behind each other
):
    """Read runs; give how many bytes were there: fewer than all where the file ends in one of them."""
    cdef int64_t i, done, at = 0
    cdef int64_t n = positions.shape[0]
    cdef ssize_t got = 0
    if lengths.shape[0] != n:
        raise ValueError("positions and lengths differ in number")
    for i in range(n):
        if lengths[i] < 0 or positions[i] < 0:
            raise ValueError(f"run {i} lies outside of any file")
        if lengths[i] > out.shape[0] - at:
            raise ValueError("too little room for the runs")
        at += lengths[i]
    at = 0
    with nogil:
        for i in range(n):
            done = 0
            while done < lengths[i]:
                got = pread(descriptor, &out[at + done], <size_t>(lengths[i] - done), <off_t>(positions[i] + done))
                if got < 0 and errno == EINTR:
                    continue
                if got <= 0:
                    break
                done += got
            at += done
            if done < lengths[i]:
                break
    if got < 0:
        PyErr_SetFromErrno(OSError)
    return at
