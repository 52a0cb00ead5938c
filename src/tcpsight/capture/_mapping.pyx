"""A part of a file as memory, and the guard that keeps a file that shrinks meanwhile from killing the process.

Theory of operation
-------------------
Addresses are reserved once; parts of the file are mapped over them one after the other, so that no more than one part
counts as memory of the process. They begin at a multiple of `ALIGNMENT_BYTES`, in the file and in memory: where the
kernel keeps a file in large pages it can then map these as they are. Behind the part lie zeros that belong to nobody.

Whoever reads a mapped page that the file does not have any more gets SIGBUS. The handler, which is installed
when something is mapped, looks up the address in a table of what is mapped here: if it finds it, zeros are mapped from that page
to the end of the part, the place is noted, and reading goes on in zeros. What was read is only to be believed after
`sound_bytes` has told that it was there all the time. Any other SIGBUS goes to the handler that was there before.
The table is of numbers that are read and written whole; an entry does not change as long as its part may be read.

What it cannot see: a file that is written over in place while it is read. That is what reading sees of it, too.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport INT64_MAX, int64_t, intptr_t, uint8_t, uintptr_t
from posix.mman cimport MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, mmap, munmap
from posix.unistd cimport close, dup

cdef extern from * nogil:
    """
    #include <errno.h>
    #include <signal.h>
    #include <stdint.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <unistd.h>
    #ifndef MAP_NORESERVE
    #define MAP_NORESERVE 0
    #endif
    #define TCPSIGHT_RESERVED (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

    #define MOST_GUARDED 64
    #define TCPSIGHT_FREE 0
    #define TCPSIGHT_TAKEN 1

    /* Where a part is mapped, how long it is, and the first byte of it that was found missing. */
    static struct { uintptr_t begin; uintptr_t length; int64_t torn; } guarded[MOST_GUARDED];
    static struct sigaction before_us;
    static int has_handed_on;

    #define LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

    static void to_who_was_before(int number, siginfo_t *info, void *context)
    {
        int is_fault = info->si_code > 0;
        /* Once only: a handler may raise the signal again, in the belief that nobody, or we, were there before it. */
        int knows_no_more = __atomic_exchange_n(&has_handed_on, 1, __ATOMIC_ACQ_REL);
        int is_special = before_us.sa_handler == SIG_DFL || before_us.sa_handler == SIG_IGN;
        if (is_special || knows_no_more) {
            /* The instruction is repeated, or the signal raised again: the system does what it does. */
            signal(number, SIG_DFL);
            if (!is_fault)
                raise(number);
        } else if (before_us.sa_flags & SA_SIGINFO) {
            before_us.sa_sigaction(number, info, context);
        } else {
            before_us.sa_handler(number);
        }
    }

    static void on_bus_error(int number, siginfo_t *info, void *context)
    {
        uintptr_t at = (uintptr_t)info->si_addr;
        int kept = errno;
        for (int i = 0; i < MOST_GUARDED && info->si_code > 0; i++) {
            uintptr_t begin = LOAD(&guarded[i].begin), length = LOAD(&guarded[i].length), page;
            int64_t torn;
            if (begin <= TCPSIGHT_TAKEN || at < begin || at - begin >= length)
                continue;
            page = at - at % (uintptr_t)sysconf(_SC_PAGESIZE);
            if (mmap((void *)page, begin + length - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
                == MAP_FAILED)
                break;
            torn = LOAD(&guarded[i].torn);
            while ((int64_t)(page - begin) < torn
                   && !__atomic_compare_exchange_n(&guarded[i].torn, &torn, (int64_t)(page - begin), 0,
                                                   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {}
            errno = kept;
            return;
        }
        errno = kept;
        to_who_was_before(number, info, context);
    }

    /* The system tells when a mapped page is gone; where it does not, files are not mapped. */
    static int install_guard(void)
    {
    #ifdef __linux__
        struct sigaction now, ours = {0};
        if (sigaction(SIGBUS, NULL, &now) != 0)
            return -1;
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error)
            return 0;
        ours.sa_sigaction = on_bus_error;
        ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&ours.sa_mask);
        before_us = now;
        return sigaction(SIGBUS, &ours, NULL);
    #else
        errno = ENOSYS;
        return -1;
    #endif
    }

    static int take_place(void)
    {
        for (int i = 0; i < MOST_GUARDED; i++) {
            uintptr_t nothing = TCPSIGHT_FREE;
            if (__atomic_compare_exchange_n(&guarded[i].begin, &nothing, TCPSIGHT_TAKEN, 0, __ATOMIC_ACQ_REL,
                                            __ATOMIC_ACQUIRE))
                return i;
        }
        errno = ENOMEM;
        return -1;
    }

    static void guard(int i, void *begin, uintptr_t length)
    {
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        length += (page - length % page) % page; /* what is behind the end of a file is on its last page */
        STORE(&guarded[i].begin, TCPSIGHT_TAKEN);
        STORE(&guarded[i].length, length);
        STORE(&guarded[i].torn, INT64_MAX);
        STORE(&guarded[i].begin, (uintptr_t)begin);
    }

    static void give_place(int i) { STORE(&guarded[i].begin, TCPSIGHT_FREE); }

    static int64_t torn_at(int i) { return LOAD(&guarded[i].torn); }

    static int64_t size_of(int descriptor)
    {
        struct stat status;
        return fstat(descriptor, &status) == 0 ? (int64_t)status.st_size : -1;
    }
    """
    int TCPSIGHT_RESERVED
    int install_guard()
    int take_place()
    void guard(int i, void *begin, uintptr_t length)
    void give_place(int i)
    int64_t torn_at(int i)
    int64_t size_of(int descriptor)

ALIGNMENT_BYTES = _ALIGNMENT_BYTES
TAIL_BYTES = _TAIL_BYTES

cdef enum:
    # A large page of x86-64 and of AArch64 with pages of 4 KiB; a multiple of every page there is.
    _ALIGNMENT_BYTES = 2097152
    # More than any length in a header says: a header that changes between two looks at it leads no farther.
    _TAIL_BYTES = 1048576


@cython.final
cdef class Mapping:
    """A part of a file, another one whenever it is asked for, at the same place in memory.

    Parameters
    ----------
    descriptor : int
        Of a regular file; it may be closed afterwards.
    room : int
        The most bytes of a part; a multiple of `ALIGNMENT_BYTES`.

    Attributes
    ----------
    offset, length : int
        Where in the file the part begins, and how long it is.

    Raises
    ------
    OSError
        The system maps no more files, or does not tell when they shrink.
    """

    cdef readonly int64_t offset
    cdef readonly int64_t length
    cdef uint8_t *reserved
    cdef uint8_t *first
    cdef int64_t room
    cdef int descriptor, place

    def __cinit__(self, int descriptor, int64_t room):
        cdef void *reserved
        self.descriptor = self.place = -1
        if room <= 0 or room % _ALIGNMENT_BYTES or room > INT64_MAX // 2:
            raise ValueError("the room is no multiple of the alignment")
        self.place = take_place()
        self.descriptor = dup(descriptor)
        if self.place < 0 or self.descriptor < 0:
            PyErr_SetFromErrno(OSError)
        reserved = mmap(NULL, self.reserved_bytes(room), PROT_READ, TCPSIGHT_RESERVED, -1, 0)
        if <intptr_t>reserved == -1:
            PyErr_SetFromErrno(OSError)
        self.reserved = <uint8_t *>reserved
        self.first = self.reserved + (-<uintptr_t>reserved) % _ALIGNMENT_BYTES
        self.room = room

    cdef size_t reserved_bytes(self, int64_t room):
        return <size_t>room + _ALIGNMENT_BYTES + _TAIL_BYTES

    def __dealloc__(self):
        if self.reserved != NULL:
            munmap(self.reserved, self.reserved_bytes(self.room))
        if self.place >= 0:
            give_place(self.place)
        if self.descriptor >= 0:
            close(self.descriptor)

    def move(self, int64_t offset, int64_t length):
        """Map another part: `length` bytes from `offset` on, which is a multiple of `ALIGNMENT_BYTES`.

        Raises
        ------
        OSError
            The system refuses. The part that was mapped is gone.
        """
        cdef void *mapped = self.first
        if install_guard() != 0:  # again, if somebody else came since
            PyErr_SetFromErrno(OSError)
        if offset < 0 or offset % _ALIGNMENT_BYTES or length < 0 or length > self.room or offset > INT64_MAX - length:
            raise ValueError("the part does not fit")
        if length < self.length:
            mapped = mmap(self.first, self.length, PROT_READ, TCPSIGHT_RESERVED | MAP_FIXED, -1, 0)
        self.length = 0
        guard(self.place, self.first, <uintptr_t>length)
        if <intptr_t>mapped != -1 and length:
            mapped = mmap(self.first, length, PROT_READ, MAP_PRIVATE | MAP_FIXED, self.descriptor, offset)
        if <intptr_t>mapped == -1:
            PyErr_SetFromErrno(OSError)
        self.offset = offset
        self.length = length

    @property
    def size(self):
        """How long the file is now, in bytes."""
        cdef int64_t size = size_of(self.descriptor)
        if size < 0:
            PyErr_SetFromErrno(OSError)
        return size

    def sound_bytes(self):
        """Tell how many bytes of the part, from its beginning, the file still has: all that was read of them is true."""
        # The system shortens a file before it takes its pages away, or writes zeros behind its end.
        cdef int64_t size = size_of(self.descriptor)
        cdef int64_t sound = min(self.length, torn_at(self.place))
        return sound if size < 0 else max(min(sound, size - self.offset), 0)

    def __len__(self):
        return self.room

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.first, self.room, 1, flags)
