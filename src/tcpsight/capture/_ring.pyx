"""The memory of packet rings, and the walk over their blocks: one row per frame, no copy, no Python between frames.

The kernel fills blocks of a ring (TPACKET_V3) and hands each over by a word of status; rows point into them until they
are given back. Offsets are those of ``linux/if_packet.h``, which never change; nothing of that header is needed here.
What a block says is checked against its size before it is believed.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove
from posix.mman cimport (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_READ,
    PROT_WRITE,
    mmap,
    munmap,
)

from tcpsight._door cimport prefetch
from tcpsight.capture._bytes cimport load16, load32
from tcpsight.tables cimport Frame

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <sys/mman.h>
    #ifndef MAP_POPULATE
    #define MAP_POPULATE 0
    #endif
    #ifndef MAP_NORESERVE
    #define MAP_NORESERVE 0
    #endif
    #define TCPSIGHT_RING_MAPS (MAP_POPULATE)
    #define TCPSIGHT_SPARE_MAPS (MAP_NORESERVE)
    #define status_of(p) __atomic_load_n((const uint32_t *)(const void *)(p), __ATOMIC_ACQUIRE)
    #define hand_back(p) __atomic_store_n((uint32_t *)(void *)(p), 0, __ATOMIC_RELEASE)
    #define SECOND ((int64_t)1000000000)
    """
    int TCPSIGHT_RING_MAPS
    int TCPSIGHT_SPARE_MAPS
    uint32_t status_of(const uint8_t *word)
    void hand_back(uint8_t *word)
    int64_t SECOND

BLOCK_HEADER_BYTES = _BLOCK_HEADER_BYTES
FRAME_HEADER_BYTES = _FRAME_HEADER_BYTES
COOKED_BYTES = _COOKED_BYTES

cdef enum:
    # struct tpacket_block_desc
    BLOCK_STATUS = 8
    BLOCK_FRAMES = 12
    BLOCK_FIRST = 16
    _BLOCK_HEADER_BYTES = 48
    # struct tpacket3_hdr
    NEXT_OFFSET = 0
    SECONDS = 4
    NANOSECONDS = 8
    CAPTURED = 12
    WIRE = 16
    STATUS = 20
    BEGIN = 24
    TAG = 32
    TAG_PROTOCOL = 36
    # struct sockaddr_ll behind it, at 48
    PROTOCOL = 50
    DEVICE = 52
    HARDWARE = 56
    DIRECTION = 58
    ADDRESS_BYTES = 59
    _FRAME_HEADER_BYTES = 68

    STATUS_USER = 1
    STATUS_TAG_VALID = 16
    STATUS_TAG_PROTOCOL_VALID = 64
    HARDWARE_LOOPBACK = 772  # ARPHRD_LOOPBACK
    DIRECTION_OUTGOING = 4  # PACKET_OUTGOING

    LINK_ETHERNET = 1
    LINK_LINUX_SLL2 = 276
    _COOKED_BYTES = 20  # of the LINKTYPE_LINUX_SLL2 header
    TAG_BYTES = 4
    TAG_DEFAULT_PROTOCOL = 0x8100
    ADDRESSES_BYTES = 12  # of an Ethernet header, which stand before a tag


@cython.final
cdef class RingMemory:
    """One buffer for the rings of all interfaces, so that the rows of a batch may point into several of them.

    Where no ring is, or is no more, there are zeros: a row that was kept for too long reads nothing else.
    """

    cdef uint8_t *start
    cdef readonly int64_t ring_bytes, rings

    def __cinit__(self, int64_t rings, int64_t ring_bytes):
        cdef void *found
        if rings < 1 or rings > 4096 or ring_bytes < 4096 or ring_bytes > (<int64_t>1 << 40) // rings:
            raise ValueError("no room for such rings")
        found = mmap(
            NULL, rings * ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | TCPSIGHT_SPARE_MAPS, -1, 0
        )
        if found == <void *>-1:
            raise MemoryError("no room for the rings of the interfaces")
        self.start, self.rings, self.ring_bytes = <uint8_t *>found, rings, ring_bytes

    def __dealloc__(self):
        if self.start != NULL:
            munmap(self.start, self.rings * self.ring_bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.rings * self.ring_bytes, 0, flags)

    def attach(self, int64_t index, int descriptor):
        """Let the ring of a socket be the part number `index`; give whether the system allowed it."""
        return self._map(index, MAP_SHARED | TCPSIGHT_RING_MAPS, descriptor)

    def detach(self, int64_t index):
        """Let zeros be there again."""
        return self._map(index, MAP_PRIVATE | MAP_ANONYMOUS | TCPSIGHT_SPARE_MAPS, -1)

    cdef bint _map(self, int64_t index, int how, int descriptor) except? False:
        cdef void *at
        if index < 0 or index >= self.rings:
            raise ValueError("there is no such ring")
        at = self.start + index * self.ring_bytes
        return mmap(at, self.ring_bytes, PROT_READ | PROT_WRITE, how | MAP_FIXED, descriptor, 0) == at


@cython.final
cdef class BlockWalk:
    """The walk over the blocks of one ring.

    Attributes
    ----------
    frames : int
        The number of the last row; the next one has the next. May be set.
    damaged : int
        Frames of blocks that contradict themselves, as many as they announce.
    held : int
        Blocks that were begun and not given back.
    last_ns : int
        Time of the last frame that was looked at; 0 before the first.
    """

    cdef public int64_t frames
    cdef readonly int64_t damaged, held, last_ns
    cdef readonly int64_t oldest  # the first block that was not given back
    cdef int64_t first, block_bytes, blocks, block, at
    cdef uint32_t left, snaplen, interface_id
    cdef uint16_t link_type

    def __init__(
        self, *, int64_t first, int64_t block_bytes, int64_t blocks, uint32_t snaplen, uint16_t link_type,
        uint32_t interface_id,
    ):
        if first < 0 or block_bytes < 4096 or block_bytes > (<int64_t>1 << 30) or blocks < 1 or blocks > 1 << 30:
            raise ValueError("no ring is like that")
        self.first, self.block_bytes, self.blocks = first, block_bytes, blocks
        self.snaplen, self.link_type, self.interface_id = snaplen, link_type, interface_id

    def walk(self, uint8_t[::1] data, uint8_t[::1] rows, int64_t most_blocks):
        """Fill `rows` from the blocks that are ready, until `most_blocks` are held; give how many."""
        cdef Py_ssize_t count
        self._check(data)
        if rows.shape[0] < <Py_ssize_t>sizeof(Frame):
            return 0
        with nogil:
            count = self.ready(&data[0], <Frame *>&rows[0], rows.shape[0] // sizeof(Frame), most_blocks)
        return count

    def release(self, uint8_t[::1] data, int64_t kept=-1):
        """Give back the blocks that were read to their end, oldest first, up to block `kept` (−1: all)."""
        cdef int64_t whole
        self._check(data)
        whole = self.held - (1 if self.left else 0)
        while whole > 0 and self.oldest != kept:
            hand_back(&data[0] + self.first + self.oldest * self.block_bytes + BLOCK_STATUS)
            self.oldest = self.oldest + 1 if self.oldest + 1 < self.blocks else 0
            self.held = self.held - 1
            whole -= 1

    cdef int _check(self, uint8_t[::1] data) except -1:
        if self.first > data.shape[0] - self.blocks * self.block_bytes:
            raise ValueError("the ring lies outside its buffer")
        if <size_t>&data[0] & 3:
            raise ValueError("words of status are aligned")
        return 0

    cdef Py_ssize_t ready(self, uint8_t *data, Frame *row, Py_ssize_t most, int64_t most_blocks) noexcept nogil:
        cdef Py_ssize_t count = 0
        cdef uint8_t *block
        while count < most:
            block = data + self.first + self.block * self.block_bytes
            if self.left == 0 and not self.begin(block, most_blocks):
                break
            count += self.frames_of(block, row + count, most - count)
            if self.left == 0:
                self.block = self.block + 1 if self.block + 1 < self.blocks else 0
        return count

    cdef bint begin(self, const uint8_t *block, int64_t most_blocks) noexcept nogil:
        """Begin with the next block, if the kernel has handed it over."""
        if self.held >= most_blocks or self.held >= self.blocks:
            return False
        if not status_of(block + BLOCK_STATUS) & STATUS_USER:
            return False
        self.left, self.at = load32(block + BLOCK_FRAMES, False), load32(block + BLOCK_FIRST, False)
        self.held = self.held + 1
        return True

    cdef Py_ssize_t frames_of(self, uint8_t *block, Frame *row, Py_ssize_t most) noexcept nogil:
        """Fill rows from one block; what it announces beyond the first thing that cannot be is damaged."""
        cdef int64_t at = self.at, block_bytes = self.block_bytes, begin, time_ns
        cdef int64_t place = self.first + self.block * self.block_bytes
        cdef uint32_t left = self.left, next_offset, captured
        cdef Py_ssize_t count = 0
        cdef uint8_t *header
        while left and count < most:
            if at < _BLOCK_HEADER_BYTES or at > block_bytes - _FRAME_HEADER_BYTES:
                break
            header = block + at
            next_offset = load32(header + NEXT_OFFSET, False)
            captured, begin = load32(header + CAPTURED, False), load16(header + BEGIN, False)
            if begin < _FRAME_HEADER_BYTES or begin > block_bytes - at or captured > block_bytes - at - begin:
                break
            if left > 1 and next_offset < _FRAME_HEADER_BYTES:
                break
            # The place of a frame is told by the one before it; frames of a kind are about as long.
            prefetch(header + next_offset)
            prefetch(header + 2 * <int64_t>next_offset)
            time_ns = load32(header + SECONDS, False) * SECOND + load32(header + NANOSECONDS, False)
            self.last_ns = time_ns
            # On loopback the kernel shows each frame twice, as it goes and as it comes.
            if header[DIRECTION] != DIRECTION_OUTGOING or load16(header + HARDWARE, False) != HARDWARE_LOOPBACK:
                self.frames = self.frames + 1
                row.frame_number = row.frame_in_file = self.frames
                row.time_ns = time_ns
                row.position = place + at + begin
                row.captured_bytes = captured
                row.wire_bytes = load32(header + WIRE, False)
                row.interface_id = self.interface_id
                row.link_type = self.link_type
                row.file = 0
                if self.link_type == LINK_LINUX_SLL2:
                    self.cook(header, begin, row)
                elif load32(header + STATUS, False) & STATUS_TAG_VALID and self.link_type == LINK_ETHERNET:
                    self.tag(header, begin, row)
                row += 1
                count += 1
            at += next_offset
            left -= 1
        if left and count < most:
            self.damaged = self.damaged + left
            left = 0
        self.at, self.left = at, left
        return count

    cdef inline void cook(self, uint8_t *header, int64_t begin, Frame *row) noexcept nogil:
        """Write the header of Linux cooked captures in front of a frame without link header."""
        cdef uint8_t *at = header + begin - _COOKED_BYTES
        if begin - _COOKED_BYTES < _FRAME_HEADER_BYTES:
            row.link_type = 101  # there is always room; if not, IP is told by its version
            return
        memcpy(at, header + PROTOCOL, 2)
        at[2] = at[3] = 0
        at[4], at[5], at[6], at[7] = header[DEVICE + 3], header[DEVICE + 2], header[DEVICE + 1], header[DEVICE]
        at[8], at[9] = header[HARDWARE + 1], header[HARDWARE]
        at[10], at[11] = header[DIRECTION], header[ADDRESS_BYTES]
        memcpy(at + 12, header + ADDRESS_BYTES + 1, 8)
        self.grow(row, _COOKED_BYTES)

    cdef inline void tag(self, uint8_t *header, int64_t begin, Frame *row) noexcept nogil:
        """Put the VLAN tag that was taken off back where it was."""
        cdef uint8_t *at = header + begin - TAG_BYTES
        cdef uint16_t protocol = TAG_DEFAULT_PROTOCOL, tag = <uint16_t>(load32(header + TAG, False) & 0xFFFF)
        if begin - TAG_BYTES < _FRAME_HEADER_BYTES or row.captured_bytes < ADDRESSES_BYTES:
            return
        if load32(header + STATUS, False) & STATUS_TAG_PROTOCOL_VALID:
            protocol = load16(header + TAG_PROTOCOL, False)
        memmove(at, at + TAG_BYTES, ADDRESSES_BYTES)
        at[12], at[13] = <uint8_t>(protocol >> 8), <uint8_t>(protocol & 0xFF)
        at[14], at[15] = <uint8_t>(tag >> 8), <uint8_t>(tag & 0xFF)
        self.grow(row, TAG_BYTES)

    cdef inline void grow(self, Frame *row, uint32_t size) noexcept nogil:
        """Let a frame begin earlier."""
        row.position -= size
        row.captured_bytes = min(row.captured_bytes + size, self.snaplen)
        row.wire_bytes = min(row.wire_bytes, <uint32_t>0xFFFF0000) + size
