"""Classic BPF, read off the paper and the manual page: one instruction at a time, numbers as numbers.

McCanne and Jacobson, "The BSD Packet Filter: A New Architecture for User-level Packet Capture", USENIX 1993;
bpf(4). Nothing is shared with the kernel.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MODULUS = 1 << 32
WIDTHS = {0x00: 4, 0x08: 2, 0x10: 1}
CLASSES = ("ld", "ldx", "st", "stx", "alu", "jmp", "ret", "misc")
MODES = {0x00: "immediate", 0x20: "absolute", 0x40: "indirect", 0x60: "memory", 0x80: "length", 0xA0: "msh"}
OPERATIONS = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << b if b < 32 else 0,
    0x70: lambda a, b: a >> b if b < 32 else 0,
    0x80: lambda a, b: -a,
    0x90: lambda a, b: a % b,
    0xA0: lambda a, b: a ^ b,
}
COMPARISONS = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: a & b != 0,
}


class Instruction(NamedTuple):
    code: int
    jump_true: int = 0
    jump_false: int = 0
    k: int = 0


class NoMatchError(Exception):
    """The program ended because of what the frame is."""


def pack(program: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def unpack(program: bytes) -> list[Instruction]:
    return [Instruction(*fields) for fields in struct.iter_unpack("=HBBI", program)]


def is_fine(program: list[Instruction]) -> bool:
    """Tell whether a program may be run on any frame."""
    if not program or CLASSES[program[-1].code & 7] != "ret":
        return False
    return all(_is_fine(instruction, len(program) - 1 - i) for i, instruction in enumerate(program))


def _is_fine(instruction: Instruction, following: int) -> bool:
    code, jump_true, jump_false, k = instruction
    kind = CLASSES[code & 7]
    if code > 0xFF:
        return False
    operation, is_x = code & 0xF0, bool(code & 0x08)
    if kind in ("ld", "ldx"):
        mode, width = MODES.get(code & 0xE0), WIDTHS.get(code & 0x18)
        if kind == "ldx" and code == 0xB1:
            return True
        if mode == "memory":
            return width == 4 and k < 16
        if mode in ("immediate", "length"):
            return width == 4
        if kind == "ldx" or width is None or mode not in ("absolute", "indirect"):
            return False
        return mode == "indirect" or k < MODULUS - 0x200000  # beyond lies what Linux adds
    if kind in ("st", "stx"):
        return code <= 7 and k < 16
    if kind == "alu":
        return operation in OPERATIONS and (operation not in (0x30, 0x90) or is_x or k != 0)
    if kind == "jmp":
        if code == 0x05:
            return k < following
        return operation in COMPARISONS and jump_true < following and jump_false < following
    if kind == "ret":
        return code in (0x06, 0x0E, 0x16)
    return code in (0x07, 0x87)


def _load(captured: bytes, at: int, width: int) -> int:
    if at + width > len(captured):
        raise NoMatchError
    return int.from_bytes(captured[at : at + width], "big")


def run(program: list[Instruction], captured: bytes, wire_bytes: int) -> int:
    """Give what the program returns for a frame: 0 for no match."""
    try:
        return _run(program, captured, wire_bytes)
    except (NoMatchError, ZeroDivisionError):
        return 0


def _run(program: list[Instruction], captured: bytes, wire_bytes: int) -> int:
    a = x = at = 0
    memory = [0] * 16
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        kind = CLASSES[code & 7]
        operand = x if code & 0x08 else k
        if kind in ("ld", "ldx"):
            mode = MODES[code & 0xE0]
            if mode == "immediate":
                value = k
            elif mode == "memory":
                value = memory[k]
            elif mode == "length":
                value = wire_bytes
            elif mode == "msh":
                value = 4 * (_load(captured, k, 1) % 16)
            else:
                value = _load(captured, k + (x if mode == "indirect" else 0), WIDTHS[code & 0x18])
            if kind == "ld":
                a = value
            else:
                x = value
        elif kind == "st":
            memory[k] = a
        elif kind == "stx":
            memory[k] = x
        elif kind == "alu":
            a = OPERATIONS[code & 0xF0](a, operand) % MODULUS
        elif kind == "jmp":
            if code == 0x05:
                at += k
            else:
                at += jump_true if COMPARISONS[code & 0xF0](a, operand) else jump_false
        elif kind == "ret":
            return {0x06: k, 0x0E: x, 0x16: a}[code]
        elif code == 0x07:
            x = a
        else:
            a = x
