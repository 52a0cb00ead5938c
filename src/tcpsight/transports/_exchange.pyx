"""Sends messages there and back, or one way, as fast as it goes, and takes the time: no Python between messages.

Every function gives what it counted, or an errno with a minus before it. What the other side is told at the end is
that there is no more: by the end of the stream, by an empty datagram, or by a mark in shared memory.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <errno.h>
    #include <sched.h>
    #include <time.h>
    #include <unistd.h>

    #if defined(__x86_64__) || defined(__i386__)
    #define relax() __builtin_ia32_pause()
    #else
    #define relax() __asm__ __volatile__("" ::: "memory")
    #endif
    #define load_acquire(p) __atomic_load_n((const uint64_t *)(p), __ATOMIC_ACQUIRE)
    #define store_release(p, v) __atomic_store_n((uint64_t *)(p), (v), __ATOMIC_RELEASE)

    static int64_t clock_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    """
    int64_t clock_now() nogil
    void relax() nogil
    uint64_t load_acquire(const void *p) nogil
    void store_release(void *p, uint64_t v) nogil
    int sched_yield() nogil
    Py_ssize_t write(int fd, const void *data, size_t size) nogil
    Py_ssize_t read(int fd, void *data, size_t size) nogil
    int ETIMEDOUT

cdef enum:
    # Words of shared memory, each on a cache line of its own: what was said, what was heard, and the messages.
    SAID = 0
    HEARD = 64
    MESSAGES = 128
    SLOTS = 64
    # So often a side looks before it gives way to others.
    LOOKS = 500
    LATE_NS = 2000000000
    # Of messages from this size on, looking at the clock costs nothing.
    LARGE = 4096

cdef uint64_t NO_MORE = <uint64_t>1 << 63


def now_ns():
    """Give the clock that these functions read."""
    return clock_now()


cdef inline int64_t send_whole(int fd, const uint8_t *data, int64_t size) noexcept nogil:
    """Write a message; give 0, or the errno with a minus."""
    cdef int64_t done = 0, n
    while done < size:
        n = write(fd, data + done, <size_t>(size - done))
        if n < 0:
            return -errno
        done += n
    return 0


cdef inline int64_t receive_whole(int fd, uint8_t *data, int64_t size, bint is_datagram) noexcept nogil:
    """Read a message; give its length, 0 for the end, or the errno with a minus."""
    cdef int64_t done = 0, n
    while done < size:
        n = read(fd, data + done, <size_t>(size - done))
        if n < 0:
            return -errno
        if n == 0:
            return 0
        done += n
        if is_datagram:
            break
    return done


def ping(int sending, int receiving, unsigned char[::1] message, int64_t until_ns, int64_t[::1] samples, *, bint is_datagram):
    """Send messages, one at least, and wait for each to come back; give how many did, with the time of each."""
    cdef int64_t size = message.shape[0], most = samples.shape[0], count = 0, before, after, got
    with nogil:
        before = clock_now()
        while count < most and (before < until_ns or count == 0):
            got = send_whole(sending, &message[0], size)
            if got == 0:
                got = receive_whole(receiving, &message[0], size, is_datagram)
                if got == 0:
                    got = -ETIMEDOUT  # the other side has gone
            if got < 0:
                break
            after = clock_now()
            samples[count] = after - before
            count += 1
            before = after
            got = 0
    return got if got < 0 else count


def pong(int sending, int receiving, unsigned char[::1] message, *, bint is_datagram):
    """Send every message back, until there is no more; give how many there were."""
    cdef int64_t size = message.shape[0], count = 0, got
    with nogil:
        while True:
            got = receive_whole(receiving, &message[0], size, is_datagram)
            if got <= 0:
                break
            got = send_whole(sending, &message[0], size)
            if got < 0:
                break
            count += 1
    return got if got < 0 else count


def flood(int sending, unsigned char[::1] message, int64_t until_ns):
    """Send messages until it is time; give how many."""
    cdef int64_t size = message.shape[0], count = 0, got = 0
    with nogil:
        while True:
            got = send_whole(sending, &message[0], size)
            if got < 0:
                break
            count += 1
            if (count & 15 == 0 or size >= LARGE) and clock_now() >= until_ns:
                break
    return got if got < 0 else count


def drain(int receiving, unsigned char[::1] message, *, bint is_datagram):
    """Take whatever comes until there is no more; give how many bytes."""
    cdef int64_t size = message.shape[0], total = 0, got
    with nogil:
        while True:
            got = read(receiving, &message[0], <size_t>size)
            if got <= 0:
                break
            total += got
        if got < 0:
            got = -errno
    return got if got < 0 else total


# ------------------------------------------------------------------------------------------------- shared memory


def shared_bytes(int64_t message_bytes):
    """Tell how much memory two sides share."""
    return MESSAGES + SLOTS * ((message_bytes + 63) & ~<int64_t>63)


cdef inline bint waits(const void *word, uint64_t unwanted, int64_t late_ns) noexcept nogil:
    """Wait until a word is another one; false if that never happens."""
    cdef int64_t looks = 0
    while load_acquire(word) == unwanted:
        looks += 1
        if looks % LOOKS == 0:
            if clock_now() > late_ns:
                return False
            sched_yield()
        else:
            relax()
    return True


cdef int64_t checked(const unsigned char[::1] memory, const unsigned char[::1] message) except -1:
    """Check that memory has room for messages; give how far they are apart."""
    cdef int64_t stride = (message.shape[0] + 63) & ~<int64_t>63
    if message.shape[0] == 0 or memory.shape[0] < MESSAGES + SLOTS * stride:
        raise ValueError("too little memory for messages of this size")
    return stride


def ping_shared(unsigned char[::1] memory, unsigned char[::1] message, int64_t until_ns, int64_t[::1] samples):
    """Put messages into memory and wait until each has been put back; as `ping`."""
    cdef int64_t most = samples.shape[0], count = 0, before, after, late_ns = until_ns + LATE_NS
    cdef uint64_t said
    cdef bint is_late = False
    checked(memory, message)
    with nogil:
        said = load_acquire(&memory[SAID])
        before = clock_now()
        while count < most and (before < until_ns or count == 0):
            memcpy(&memory[MESSAGES], &message[0], message.shape[0])
            said += 1
            store_release(&memory[SAID], said)
            if not waits(&memory[HEARD], said - 1, late_ns):
                is_late = True
                break
            memcpy(&message[0], &memory[MESSAGES], message.shape[0])
            after = clock_now()
            samples[count] = after - before
            count += 1
            before = after
    return -ETIMEDOUT if is_late else count


def pong_shared(unsigned char[::1] memory, unsigned char[::1] message, int64_t until_ns):
    """Take every message out and put it back, until there is no more; as `pong`."""
    cdef int64_t count = 0, late_ns = until_ns + LATE_NS
    cdef uint64_t heard = 0, said
    cdef bint is_late = False
    checked(memory, message)
    with nogil:
        while True:
            if not waits(&memory[SAID], heard, late_ns):
                is_late = True
                break
            said = load_acquire(&memory[SAID])
            if said & NO_MORE:
                break
            memcpy(&message[0], &memory[MESSAGES], message.shape[0])
            memcpy(&memory[MESSAGES], &message[0], message.shape[0])
            heard = said
            store_release(&memory[HEARD], heard)
            count += 1
    return -ETIMEDOUT if is_late else count


def flood_shared(unsigned char[::1] memory, unsigned char[::1] message, int64_t until_ns):
    """Put messages, one at least, into a ring until it is time, then the mark that there is no more; give how many."""
    cdef int64_t stride = checked(memory, message), count = 0, late_ns = until_ns + LATE_NS
    cdef uint64_t heard
    cdef bint is_late = False
    with nogil:
        while not is_late and (count == 0 or (count & 15 and message.shape[0] < LARGE) or clock_now() < until_ns):
            heard = load_acquire(&memory[HEARD])
            while not is_late and <uint64_t>count - heard >= SLOTS:
                is_late = not waits(&memory[HEARD], heard, late_ns)
                heard = load_acquire(&memory[HEARD])
            memcpy(&memory[MESSAGES + (count % SLOTS) * stride], &message[0], message.shape[0])
            count += 1
            store_release(&memory[SAID], <uint64_t>count)
        store_release(&memory[SAID], <uint64_t>count | NO_MORE)
    return -ETIMEDOUT if is_late else count


def drain_shared(unsigned char[::1] memory, unsigned char[::1] message, int64_t until_ns):
    """Take messages out of a ring until there is no more; give how many bytes."""
    cdef int64_t stride = checked(memory, message), late_ns = until_ns + LATE_NS
    cdef uint64_t heard = 0, said
    cdef bint is_late = False
    with nogil:
        while True:
            if not waits(&memory[SAID], heard, late_ns):
                is_late = True
                break
            said = load_acquire(&memory[SAID])
            while heard < said & ~NO_MORE:
                memcpy(&message[0], &memory[MESSAGES + <int64_t>(heard % SLOTS) * stride], message.shape[0])
                heard += 1
                store_release(&memory[HEARD], heard)
            if said & NO_MORE:
                break
    return -ETIMEDOUT if is_late else <int64_t>heard * message.shape[0]
