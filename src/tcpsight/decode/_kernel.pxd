# What other kernels of this room call.
from libc.stdint cimport uint8_t

from tcpsight.decode._wire cimport Cursor, Packet
from tcpsight.tables cimport Frame

cdef int find_any(const Frame *frame, const uint8_t *data, Cursor *cursor, Packet *packet) noexcept nogil
