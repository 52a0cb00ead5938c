# The door of every kernel: blocks of packed rows are checked here, once; memory for what is kept; fetching ahead.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

cdef extern from * nogil:
    """
    #include <stdint.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #ifdef MADV_HUGEPAGE
    #define TCPSIGHT_LARGE_PAGES(p, n) ((void) madvise(p, n, MADV_HUGEPAGE))
    #else
    #define TCPSIGHT_LARGE_PAGES(p, n) ((void) (p), (void) (n))
    #endif
    #if defined(__GNUC__) || defined(__clang__)
    /* The empty statement is an effect: without one, GCC takes a function that only prefetches for useless
       and drops its calls. */
    #define TCPSIGHT_PREFETCH(p) do { __builtin_prefetch(p); __asm__ volatile (""); } while (0)
    #else
    #define TCPSIGHT_PREFETCH(p) ((void)(p))
    #endif
    /* Two lines of a place that nobody has checked yet: there may be nothing. */
    #define TCPSIGHT_PREFETCH_BOTH(p, n) do { \\
        TCPSIGHT_PREFETCH((const void *) ((uintptr_t) (p) + (uintptr_t) (n))); \\
        TCPSIGHT_PREFETCH((const void *) ((uintptr_t) (p) + (uintptr_t) (n) + 64)); } while (0)
    """
    void ask_for_large_pages "TCPSIGHT_LARGE_PAGES" (void *p, size_t n)
    void prefetch "TCPSIGHT_PREFETCH" (const void *p)
    void prefetch_both "TCPSIGHT_PREFETCH_BOTH" (const void *p, int64_t n)

cdef enum:
    LARGE_PAGE_BYTES = 2097152
    # Slots in a chunk, and the same as a power of two: enough to fill large pages.
    CHUNK = 4096
    CHUNK_BITS = 12

cdef struct Chunks:
    # State of connections by slot, in chunks that never move: to grow costs no copy, and memory is taken where it is
    # written to. What lies beyond `opened` was never written to, and is not known to be zero.
    uint8_t **parts
    int64_t slots               # for which there is room
    int64_t opened              # one more than the highest slot that was ever open


cdef inline void *allocate(uint64_t size) noexcept nogil:
    """Memory aligned to cache lines or, if it is large, to large pages: what is read at random in it would otherwise
    miss the translation of addresses as often as the cache. NULL if there is none."""
    cdef void *fresh = NULL
    cdef bint is_large = size >= LARGE_PAGE_BYTES
    if posix_memalign(&fresh, LARGE_PAGE_BYTES if is_large else 64, size) != 0:
        return NULL
    if is_large:
        ask_for_large_pages(fresh, size)
    return fresh


cdef inline uint8_t *slot_in(const Chunks *c, int64_t slot, size_t slot_bytes) noexcept nogil:
    return c.parts[slot >> CHUNK_BITS] + (slot & (CHUNK - 1)) * slot_bytes


cdef inline uint8_t *opened_in(const Chunks *c, int64_t slot, size_t slot_bytes) noexcept nogil:
    """A slot that was open once, and may be; else NULL."""
    return slot_in(c, slot, slot_bytes) if slot < c.opened else NULL


cdef inline uint8_t *open_in(Chunks *c, int64_t slot, size_t slot_bytes) noexcept nogil:
    """A slot that is about to be opened, zeroed, and all before it may be looked at; NULL if there is no room."""
    if slot >= c.slots:
        return NULL
    while c.opened < slot:
        memset(slot_in(c, c.opened, slot_bytes), 0, slot_bytes)
        c.opened += 1
    if c.opened == slot:
        c.opened += 1
    memset(slot_in(c, slot, slot_bytes), 0, slot_bytes)
    return slot_in(c, slot, slot_bytes)


cdef inline int reserve(Chunks *c, int64_t slots, size_t slot_bytes) except -1:
    """Make room for so many slots."""
    cdef int64_t chunks = c.slots >> CHUNK_BITS
    cdef int64_t wanted = (slots + CHUNK - 1) >> CHUNK_BITS
    cdef uint8_t **parts
    if wanted <= chunks:
        return 0
    parts = <uint8_t **>realloc(c.parts, wanted * sizeof(uint8_t *))
    if parts == NULL:
        raise MemoryError(f"no memory for {slots} connections")
    c.parts = parts
    while chunks < wanted:
        parts[chunks] = <uint8_t *>allocate(CHUNK * slot_bytes)
        if parts[chunks] == NULL:
            raise MemoryError(f"no memory for {slots} connections")
        chunks += 1
        c.slots += CHUNK
    return 0


cdef inline void release(Chunks *c) noexcept:
    cdef int64_t i
    for i in range(c.slots >> CHUNK_BITS):
        free(c.parts[i])
    free(c.parts)
    c.parts = NULL
    c.slots = c.opened = 0


cdef struct Growth:
    # How a list grows that few connections need: room for its first rows, then for twice as many, and so on.
    uint32_t first
    uint32_t most
    int64_t row_bytes
    int64_t most_bytes          # beyond the first rows, of all such lists together


cdef inline uint32_t grown(void **rows, uint32_t size, const Growth *growth, int64_t *more_bytes) noexcept nogil:
    """Make room for more rows; give for how many there is room, `size` if no more may be had, or there is no memory."""
    cdef uint32_t wanted = 2 * size if size else growth.first
    cdef int64_t more = size * growth.row_bytes
    cdef void *fresh
    if wanted > growth.most or more_bytes[0] + more > growth.most_bytes:
        return size
    fresh = realloc(rows[0], wanted * growth.row_bytes)
    if fresh == NULL:
        return size
    rows[0] = fresh
    more_bytes[0] += more
    return wanted


cdef inline int64_t rows_of(const uint8_t[::1] block, size_t row_bytes) except -1:
    """Check a block of packed rows at the door; give its number of rows."""
    if block.shape[0] % row_bytes:
        raise ValueError(f"{block.shape[0]} bytes are not rows of {row_bytes} bytes")
    return block.shape[0] // <int64_t>row_bytes


cdef inline const uint8_t *start_of(const uint8_t[::1] block) noexcept:
    return &block[0] if block.shape[0] else NULL


# --- what is carried from one capture to the next: bytes that somebody may have changed ------------------------------

cdef struct Carried:
    # What is left to be read, or written.
    uint8_t *at
    int64_t left


cdef inline bint read_carried(Carried *c, void *to, int64_t size) noexcept nogil:
    """Read so many bytes; False if there are not as many."""
    if size < 0 or size > c.left:
        return False
    if size == 0:
        return True                 # there may be nothing that `at` points to
    memcpy(to, c.at, size)
    c.at += size
    c.left -= size
    return True


cdef inline void write_carried(Carried *c, const void *what, int64_t size) noexcept nogil:
    """Write so many bytes, for which there is room."""
    if size == 0:
        return
    memcpy(c.at, what, size)
    c.at += size
    c.left -= size


cdef inline bint read_new(Carried *c, void **to, int64_t size, int64_t room) noexcept nogil:
    """Read so many bytes into fresh memory with room for `room`; False, and nothing there, if that cannot be."""
    if size < 0 or size > c.left or room < size:
        return False
    to[0] = malloc(room)            # which is more than none
    if to[0] == NULL:
        return False
    return read_carried(c, to[0], size)
