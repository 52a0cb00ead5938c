"""Merges the rows of several readers by time: a heap of batches, one per file.

The slot of a file is its rank, so that of two frames of the same time that of the lower slot comes first.
A batch stays where its reader put it until all its rows are taken; merged rows and their bytes are copied.
(Attributes are not changed in place, ``a = a + 1``: with overflow checks Cython refuses ``a += 1`` without the GIL.)
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from tcpsight.tables cimport Frame

cdef struct Head:
    Frame *row  # the next one
    Py_ssize_t taken
    Py_ssize_t left
    const uint8_t *data
    const int64_t *interfaces  # number through all files of each of its interfaces, −1 while it has none
    int64_t known
    int64_t size


@cython.final
cdef class Merger:
    """The heads of all open files, the earliest on top.

    Attributes
    ----------
    size : int
        Files that have rows.
    exhausted : int
        The file whose last row `merge` or `take` took, −1 if none; it takes part again after `add`.
    rows, bytes : int
        How far the output of `merge` is filled; reset by the caller.
    frames : int
        Frames taken so far: the number of the last one.
    """

    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t exhausted
    cdef public Py_ssize_t rows
    cdef public int64_t bytes
    cdef readonly int64_t frames
    cdef Head *heads
    cdef Py_ssize_t *heap
    cdef Py_ssize_t slots
    cdef list held

    def __cinit__(self, Py_ssize_t slots):
        if slots < 1:
            raise ValueError("there is nothing to merge")
        self.heads = <Head *>calloc(slots, sizeof(Head))
        self.heap = <Py_ssize_t *>calloc(slots, sizeof(Py_ssize_t))
        if self.heads == NULL or self.heap == NULL:
            raise MemoryError
        self.slots = slots
        self.held = [None] * slots
        self.exhausted = -1

    def __dealloc__(self):
        free(self.heads)
        free(self.heap)

    def add(self, Py_ssize_t slot, uint8_t[::1] rows, const uint8_t[::1] data, const int64_t[::1] interfaces):
        """Give the next batch of a file that has none; the arrays stay in use until it is exhausted.

        Rows are numbered where they are; `interfaces` may be completed meanwhile.
        """
        cdef Py_ssize_t i
        if slot < 0 or slot >= self.slots or self.held[slot] is not None:
            raise ValueError("the file still has rows")
        if rows.shape[0] == 0 or rows.shape[0] % <Py_ssize_t>sizeof(Frame) or interfaces.shape[0] == 0:
            raise ValueError("a batch has at least one row")
        self.held[slot] = (rows, data, interfaces)
        cdef Head *head = self.heads + slot
        head.row = <Frame *>&rows[0]
        head.taken = 0
        head.left = rows.shape[0] // <Py_ssize_t>sizeof(Frame)
        head.data = &data[0] if data.shape[0] else NULL
        head.size = data.shape[0]
        head.interfaces = &interfaces[0]
        head.known = interfaces.shape[0]
        for i in range(head.left):
            if head.row[i].position < 0 or head.row[i].position + head.row[i].captured_bytes > head.size:
                raise ValueError("a frame lies outside its data")
        self.heap[self.size] = slot
        self.size = self.size + 1
        self.rise(self.size - 1)
        if self.exhausted == slot:
            self.exhausted = -1

    @property
    def top(self):
        """The file whose frame is next."""
        return self.heap[0] if self.size else -1

    @property
    def top_ns(self):
        """The time of the next frame."""
        if not self.size:
            raise ValueError("there is no next frame")
        return self.heads[self.heap[0]].row.time_ns

    @property
    def top_bytes(self):
        """The captured length of the next frame."""
        return self.heads[self.heap[0]].row.captured_bytes if self.size else 0

    @property
    def unnumbered(self):
        """The next frame's interface, by its number in its file, if it has no number yet; else −1."""
        if self.size and not self.is_numbered(self.heads + self.heap[0], 0):
            return self.heads[self.heap[0]].row.interface_id
        return -1

    def run(self, int64_t until_ns):
        """Tell how many rows of the top file come before any other file's, and before `until_ns`."""
        cdef Head *head
        cdef Py_ssize_t second, count = 0
        cdef int64_t last_ns = until_ns - 1
        if not self.size:
            return 0
        with nogil:
            head = self.heads + self.heap[0]
            second = self.second()
            if second >= 0:
                last_ns = min(last_ns, self.heads[second].row.time_ns - (second < self.heap[0]))
            while count < head.left and head.row[count].time_ns <= last_ns and self.is_numbered(head, count):
                count += 1
        return count

    def take(self, Py_ssize_t count):
        """Number the next `count` rows of the top file where they are, move past them, and give where they begin."""
        cdef Head *head
        cdef Py_ssize_t i, start
        self.exhausted = -1
        if not self.size:
            raise ValueError("there is no next frame")
        head = self.heads + self.heap[0]
        if count < 0 or count > head.left:
            raise ValueError("the file has fewer rows")
        start = head.taken
        with nogil:
            for i in range(count):
                self.number(head)
            self.settle()
        self.release()
        return start

    def merge(self, uint8_t[::1] rows, uint8_t[::1] data, int64_t until_ns):
        """Copy rows and bytes in order until one file is exhausted, room is short, or `until_ns` is reached.

        Continues behind the first `self.rows` rows and `self.bytes` bytes.
        """
        cdef Py_ssize_t most = rows.shape[0] // <Py_ssize_t>sizeof(Frame)
        cdef int64_t room = data.shape[0]
        self.exhausted = -1
        if self.rows < 0 or self.bytes < 0 or most == 0 or room == 0:
            raise ValueError("there is no room")
        with nogil:
            self.copy(<Frame *>&rows[0], most, &data[0], room, until_ns)
        self.release()

    cdef release(self):
        """Let go of the arrays of an exhausted file."""
        if self.exhausted >= 0:
            self.held[self.exhausted] = None

    cdef void copy(self, Frame *rows, Py_ssize_t most, uint8_t *data, int64_t room, int64_t until_ns) noexcept nogil:
        cdef Head *head
        cdef Frame *row
        while self.size and self.exhausted < 0 and self.rows < most:
            head = self.heads + self.heap[0]
            row = head.row
            if row.time_ns >= until_ns or not self.is_numbered(head, 0) or row.captured_bytes > room - self.bytes:
                return
            self.number(head)
            rows[self.rows] = row[0]
            rows[self.rows].position = self.bytes
            if row.captured_bytes:
                memcpy(data + self.bytes, head.data + row.position, row.captured_bytes)
            self.rows = self.rows + 1
            self.bytes = self.bytes + row.captured_bytes
            self.settle()

    cdef inline bint is_numbered(self, Head *head, Py_ssize_t at) noexcept nogil:
        """Tell whether the interface of the row that comes `at` rows later has its number."""
        return head.row[at].interface_id < head.known and head.interfaces[head.row[at].interface_id] >= 0

    cdef inline void number(self, Head *head) noexcept nogil:
        """Number the next row, and move past it."""
        cdef Frame *row = head.row
        self.frames = self.frames + 1
        row.frame_number = self.frames
        row.interface_id = <unsigned int>head.interfaces[row.interface_id]
        head.row = &row[1]
        head.taken = head.taken + 1
        head.left = head.left - 1

    cdef inline bint is_before(self, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
        cdef int64_t a_ns = self.heads[a].row.time_ns, b_ns = self.heads[b].row.time_ns
        return a_ns < b_ns or (a_ns == b_ns and a < b)

    cdef Py_ssize_t second(self) noexcept nogil:
        """Give the file that is next when the top one is left out; −1 if there is none."""
        if self.size < 2:
            return -1
        if self.size == 2 or self.is_before(self.heap[1], self.heap[2]):
            return self.heap[1]
        return self.heap[2]

    cdef void rise(self, Py_ssize_t at) noexcept nogil:
        cdef Py_ssize_t above
        while at > 0:
            above = (at - 1) // 2
            if not self.is_before(self.heap[at], self.heap[above]):
                return
            self.heap[at], self.heap[above] = self.heap[above], self.heap[at]
            at = above

    cdef void sink(self) noexcept nogil:
        cdef Py_ssize_t at = 0, below
        while True:
            below = 2 * at + 1
            if below >= self.size:
                return
            if below + 1 < self.size and self.is_before(self.heap[below + 1], self.heap[below]):
                below += 1
            if not self.is_before(self.heap[below], self.heap[at]):
                return
            self.heap[at], self.heap[below] = self.heap[below], self.heap[at]
            at = below

    cdef inline void settle(self) noexcept nogil:
        """Put the top file where it belongs after rows of it were taken."""
        cdef Py_ssize_t slot = self.heap[0]
        if self.heads[slot].left == 0:
            self.exhausted = slot
            self.size = self.size - 1
            self.heap[0] = self.heap[self.size]
        self.sink()
