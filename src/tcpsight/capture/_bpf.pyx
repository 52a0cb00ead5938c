"""Runs classic BPF programs over frames.

A program is checked once by `check`; `match` then trusts it: every jump goes forward and lands inside, the
last instruction returns, scratch memory is addressed within its 16 words. What depends on the frame (loads
beyond the captured bytes, division by zero) ends the program with "no match", as libpcap does.

Instructions and their meaning: McCanne and Jacobson, "The BSD Packet Filter", USENIX 1993, §3; bpf(4).
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from tcpsight.tables cimport Frame

cdef struct Instruction:
    uint16_t code
    uint8_t jump_true
    uint8_t jump_false
    uint32_t k

cdef enum:
    MEMORY_WORDS = 16
    MOST_INSTRUCTIONS = 65536
    # Classes, in the lowest three bits of a code.
    LD = 0
    LDX = 1
    ST = 2
    STX = 3
    ALU = 4
    JMP = 5
    RET = 6
    MISC = 7
    KIND = 0x07
    # Loads: what from, and how much.
    MODE = 0xE0
    IMMEDIATE = 0x00
    ABSOLUTE = 0x20
    RELATIVE = 0x40
    SCRATCH = 0x60
    HEADER_LENGTH = 0xA0
    WIDTH = 0x18
    HALF_WORD = 0x08
    BYTE = 0x10
    # Jumps and arithmetic: what is done, and whether X is the other operand.
    OPERATION = 0xF0
    WITH_X = 0x08
    JUMP_EQUAL = 0x10
    JUMP_GREATER = 0x20
    JUMP_AT_LEAST = 0x30
    JUMP_BITS = 0x40
    # Returns.
    MODE_OF_RETURN = 0x18
    RETURN_A = 0x10

cdef struct Captured:
    const uint8_t *bytes
    uint32_t size
    uint32_t wire_size

cdef struct Machine:
    uint32_t a
    uint32_t x
    uint32_t memory[MEMORY_WORDS]

cdef enum Finding:
    FINE = 0
    EMPTY = 1
    NO_RETURN = 2
    JUMP_OUTSIDE = 3
    MEMORY_OUTSIDE = 4
    ZERO_DIVISOR = 5
    UNKNOWN = 6
    EXTENSION = 7

FINDINGS = (
    "",
    "it is empty or too long",
    "its last instruction does not return",
    "a jump leaves it",
    "it uses scratch memory that does not exist",
    "it divides by zero",
    "it has an instruction that does not exist",
    "it needs an extension of the kernel's filter",
)

# Loads from here on are Linux's ancillary data, not bytes of the frame (linux/filter.h, SKF_LL_OFF).
cdef uint32_t FIRST_EXTENSION = 0xFFE00000u


cdef Finding check_jump(const Instruction *at, size_t left) noexcept nogil:
    """`left` is how many instructions follow."""
    cdef int operation = at.code & 0xF0
    if operation == 0x00:
        return FINE if at.k < left and at.code == JMP else JUMP_OUTSIDE if at.code == JMP else UNKNOWN
    if operation > 0x40 or at.code & 0xFF00:
        return UNKNOWN
    return FINE if at.jump_true < left and at.jump_false < left else JUMP_OUTSIDE


cdef Finding check_load(const Instruction *at) noexcept nogil:
    cdef int code = at.code
    if code in (0x20, 0x28, 0x30):  # absolute: word, half word, byte
        return EXTENSION if at.k >= FIRST_EXTENSION else FINE
    if code in (0x40, 0x48, 0x50, 0x00, 0x80, 0x01, 0x81, 0xB1):
        return FINE  # relative to X, immediate, length, header length
    if code in (0x60, 0x61):
        return FINE if at.k < MEMORY_WORDS else MEMORY_OUTSIDE
    return UNKNOWN


cdef Finding check_arithmetic(const Instruction *at) noexcept nogil:
    cdef int operation = at.code & 0xF0
    if operation > 0xA0 or at.code & 0xFF00:
        return UNKNOWN
    if operation in (0x30, 0x90) and not at.code & 0x08 and at.k == 0:
        return ZERO_DIVISOR
    return FINE


cdef Finding check_one(const Instruction *at, size_t left) noexcept nogil:
    cdef int kind = at.code & 7
    if kind == JMP:
        return check_jump(at, left)
    if kind == LD or kind == LDX:
        return check_load(at)
    if kind == ALU:
        return check_arithmetic(at)
    if kind == ST or kind == STX:
        return UNKNOWN if at.code > 7 else FINE if at.k < MEMORY_WORDS else MEMORY_OUTSIDE
    if kind == RET:
        return FINE if at.code in (0x06, 0x0E, 0x16) else UNKNOWN
    return FINE if at.code in (0x07, 0x87) else UNKNOWN


def check(const unsigned char[::1] program):
    """Tell whether a program may be run: 0, or the index of what is wrong in `FINDINGS`.

    Parameters
    ----------
    program : buffer of bytes
        Instructions of 8 bytes in the machine's byte order: code, jump true, jump false, k.
    """
    cdef size_t count = program.shape[0] // sizeof(Instruction)
    cdef size_t i
    cdef Finding found
    if count == 0 or count > MOST_INSTRUCTIONS or count * sizeof(Instruction) != <size_t>program.shape[0]:
        return <int>EMPTY
    cdef const Instruction *instructions = <const Instruction *>&program[0]
    for i in range(count):
        found = check_one(&instructions[i], count - 1 - i)
        if found != FINE:
            return <int>found
    return <int>FINE if instructions[count - 1].code & 7 == RET else <int>NO_RETURN


cdef inline bint fetch(const uint8_t *bytes, uint32_t size, uint64_t at, int width, uint32_t *value) noexcept nogil:
    """Read `width` bytes in network order; false where they were not captured."""
    if at + width > size:
        return False
    bytes += at
    if width == 4:
        value[0] = <uint32_t>bytes[0] << 24 | <uint32_t>bytes[1] << 16 | <uint32_t>bytes[2] << 8 | bytes[3]
    elif width == 2:
        value[0] = <uint32_t>bytes[0] << 8 | bytes[1]
    else:
        value[0] = bytes[0]
    return True


@cython.overflowcheck(False)
cdef inline bint calculate(int operation, uint32_t *a, uint32_t b) noexcept nogil:
    """Arithmetic modulo 2³²; false for a division by zero."""
    if operation == 0x00:
        a[0] += b
    elif operation == 0x10:
        a[0] -= b
    elif operation == 0x20:
        a[0] *= b
    elif operation == 0x30:
        if b == 0:
            return False
        a[0] //= b
    elif operation == 0x40:
        a[0] |= b
    elif operation == 0x50:
        a[0] &= b
    elif operation == 0x60:
        a[0] = a[0] << b if b < 32 else 0
    elif operation == 0x70:
        a[0] = a[0] >> b if b < 32 else 0
    elif operation == 0x80:
        a[0] = 0 - a[0]
    elif operation == 0x90:
        if b == 0:
            return False
        a[0] %= b
    else:
        a[0] ^= b
    return True


cdef inline bint fetch_at(const Captured *frame, uint64_t at, int width_bits, uint32_t *value) noexcept nogil:
    """Read as many bytes as the width in a code says: a word, a half word or a byte."""
    if width_bits == HALF_WORD:
        return fetch(frame.bytes, frame.size, at, 2, value)
    if width_bits == BYTE:
        return fetch(frame.bytes, frame.size, at, 1, value)
    return fetch(frame.bytes, frame.size, at, 4, value)


cdef inline bint load(const Instruction *at, const Captured *frame, Machine *m) noexcept nogil:
    """Load the accumulator; false where the bytes were not captured."""
    cdef int mode = at.code & MODE
    if mode == ABSOLUTE:
        return fetch_at(frame, at.k, at.code & WIDTH, &m.a)
    if mode == RELATIVE:
        return fetch_at(frame, <uint64_t>m.x + at.k, at.code & WIDTH, &m.a)
    if mode == IMMEDIATE:
        m.a = at.k
    elif mode == SCRATCH:
        m.a = m.memory[at.k]
    else:
        m.a = frame.wire_size
    return True


cdef inline bint load_index(const Instruction *at, const Captured *frame, Machine *m) noexcept nogil:
    """Load X; false where the byte was not captured that tells how long an IP header is."""
    cdef int mode = at.code & MODE
    if mode == HEADER_LENGTH:
        if not fetch(frame.bytes, frame.size, at.k, 1, &m.x):
            return False
        m.x = (m.x & 0x0F) << 2
    elif mode == IMMEDIATE:
        m.x = at.k
    elif mode == SCRATCH:
        m.x = m.memory[at.k]
    else:
        m.x = frame.wire_size
    return True


cdef inline uint32_t jump(const Instruction *at, const Machine *m) noexcept nogil:
    """How many instructions a jump leaves out."""
    cdef int test = at.code & OPERATION
    cdef uint32_t b = m.x if at.code & WITH_X else at.k
    cdef bint holds
    if test == JUMP_EQUAL:
        holds = m.a == b
    elif test == JUMP_BITS:
        holds = (m.a & b) != 0
    elif test == JUMP_GREATER:
        holds = m.a > b
    elif test == JUMP_AT_LEAST:
        holds = m.a >= b
    else:
        return at.k
    return at.jump_true if holds else at.jump_false


cdef inline uint32_t verdict(const Instruction *at, const Machine *m) noexcept nogil:
    """What a return gives: the constant, the accumulator or X."""
    if at.code == RET:
        return at.k
    return m.a if at.code & MODE_OF_RETURN == RETURN_A else m.x


cdef inline void move(const Instruction *at, Machine *m) noexcept nogil:
    """Store into scratch memory, or exchange between the accumulator and X."""
    if at.code == ST:
        m.memory[at.k] = m.a
    elif at.code == STX:
        m.memory[at.k] = m.x
    elif at.code == MISC:
        m.x = m.a
    else:
        m.a = m.x


cdef inline bint rarely(const Instruction *at, const Captured *frame, Machine *m) noexcept nogil:
    """Run any instruction that neither jumps nor returns; false where the program ends with it."""
    cdef int kind = at.code & KIND
    if kind == LD:
        return load(at, frame, m)
    if kind == LDX:
        return load_index(at, frame, m)
    if kind == ALU:
        return calculate(at.code & OPERATION, &m.a, m.x if at.code & WITH_X else at.k)
    move(at, m)
    return True


cdef uint32_t run(const Instruction *at, const Captured *frame) noexcept nogil:
    """Run a checked program over one frame; what it returns.

    What filters are mostly made of comes first, as one chain of comparisons with constants: it becomes a jump table.
    """
    cdef Machine m
    cdef int code
    memset(&m, 0, sizeof(m))
    while True:
        code = at.code
        if code == 0x28:  # load half word
            if not fetch(frame.bytes, frame.size, at.k, 2, &m.a):
                return 0
        elif code == 0x15:  # jump if equal
            at += at.jump_true if m.a == at.k else at.jump_false
        elif code == 0x30:  # load byte
            if not fetch(frame.bytes, frame.size, at.k, 1, &m.a):
                return 0
        elif code == 0x20:  # load word
            if not fetch(frame.bytes, frame.size, at.k, 4, &m.a):
                return 0
        elif code == 0x45:  # jump if a bit is set
            at += at.jump_true if m.a & at.k else at.jump_false
        elif code == 0x06:  # return a constant
            return at.k
        elif code == 0x48:  # load half word, relative to X
            if not fetch(frame.bytes, frame.size, <uint64_t>m.x + at.k, 2, &m.a):
                return 0
        elif code & KIND == JMP:
            at += jump(at, &m)
        elif code & KIND == RET:
            return verdict(at, &m)
        elif not rarely(at, frame, &m):
            return 0
        at += 1


cdef bint lies_inside(const Frame *frame, int64_t size) noexcept nogil:
    return 0 <= frame.position <= size and frame.captured_bytes <= size - frame.position


def match(
    const unsigned char[::1] program,
    const unsigned char[::1] frames,
    const unsigned char[::1] data,
    int link_type,
    unsigned char[::1] matched,
):
    """Run a program over the frames of one link type; how many it lets through.

    Parameters
    ----------
    program : buffer of bytes
        As `check` found it fine.
    frames : buffer of bytes
        Rows of Frames.
    data : buffer of bytes
        Their bytes.
    link_type : int
        Frames of other link types are left alone.
    matched : writable buffer of bytes, shape (rows,)
        Set to 1 for frames that it lets through, to 0 for those that it does not.

    Raises
    ------
    ValueError
        The program is not fine, a buffer has the wrong size, or a frame does not lie in `data`.
    """
    cdef Py_ssize_t count = frames.shape[0] // sizeof(Frame)
    cdef Py_ssize_t i, passed = 0
    cdef int64_t size = data.shape[0]
    cdef const Frame *rows
    cdef const uint8_t *bytes = NULL
    cdef Captured frame
    if count == 0:
        return 0
    if check(program) or count * sizeof(Frame) != <size_t>frames.shape[0] or matched.shape[0] != count:
        raise ValueError("a program or buffer that does not fit")
    rows = <const Frame *>&frames[0]
    if size:
        bytes = &data[0]
    cdef const Instruction *first = <const Instruction *>&program[0]
    cdef bint is_outside = False
    with nogil:
        for i in range(count):
            if rows[i].link_type != link_type:
                continue
            if not lies_inside(&rows[i], size):
                is_outside = True
                break
            frame.bytes, frame.size = bytes + rows[i].position, rows[i].captured_bytes
            frame.wire_size = rows[i].wire_bytes
            matched[i] = run(first, &frame) != 0
            passed += matched[i]
    if is_outside:
        raise ValueError("a frame does not lie in the data")
    return passed
