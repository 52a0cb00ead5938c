"""Filters of live captures: what the kernel is given, and what is looked at again.

Theory of operation
-------------------
libpcap compiles an expression for frames as they are in a file. The kernel shows a filter something else in two cases.
Of cooked interfaces it shows no link header: what the program reads of one is asked of the kernel by the offsets that
it keeps for that, and what lies behind is nearer by its length. Of tagged frames it shows no tag: where the expression
names ``vlan``, the kernel passes on everything, and the frames, with their tags back in place, are filtered here. The
same is done with the few programs that cannot be translated.

Every program begins with two questions of its own: frames that leave by a loopback interface come in by it again, and
are wanted once.

What it cannot see: tags, where the expression does not name them: ``port 80`` finds tagged frames too, if the card or
the kernel took the tag off, as with tcpdump.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.capture.filter import REJECTS_ALL, FrameFilter, _Libpcap
from tcpsight.errors import UsageError

if TYPE_CHECKING:
    from tcpsight.tables import Frames

DIRECTIONS = "inbound/outbound not supported"
"""What libpcap begins with where a file does not tell which way frames went; a kernel does."""

INSTRUCTION = np.dtype([("code", "u2"), ("jt", "u1"), ("jf", "u1"), ("k", "u4")])
"""``struct sock_filter``."""

MOST_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

# linux/bpf_common.h, linux/filter.h
CLASS, MODE, SIZE = 0x07, 0xE0, 0x18
LOAD, LOAD_INDEX, RETURN = 0x00, 0x01, 0x06
ABSOLUTE, INDIRECT, LENGTH, HEADER_LENGTH = 0x20, 0x40, 0x80, 0xA0
RETURN_CONSTANT = 0x06
LOAD_WORD, JUMP_IF_EQUAL = 0x20, 0x15
SPECIAL = 0xFFFFF000
"""Offsets from here on ask the kernel of a frame instead of reading it."""

SPECIAL_PROTOCOL, SPECIAL_DIRECTION, SPECIAL_DEVICE, SPECIAL_HARDWARE = (SPECIAL + n for n in (0, 4, 8, 28))

COOKED_BYTES = 20
COOKED_FIELDS = {0: SPECIAL_PROTOCOL, 4: SPECIAL_DEVICE, 8: SPECIAL_HARDWARE, 10: SPECIAL_DIRECTION}
"""What fields of the LINKTYPE_LINUX_SLL2 header are to the kernel."""

LINK_TYPE_LINUX_SLL2 = 276
HARDWARE_LOOPBACK = 772
DIRECTION_OUTGOING = 4

WITHOUT_COPIES = struct.pack(
    "=HBBI HBBI HBBI HBBI HBBI",
    *(LOAD_WORD, 0, 0, SPECIAL_HARDWARE),
    *(JUMP_IF_EQUAL, 0, 3, HARDWARE_LOOPBACK),
    *(LOAD_WORD, 0, 0, SPECIAL_DIRECTION),
    *(JUMP_IF_EQUAL, 0, 1, DIRECTION_OUTGOING),
    *(RETURN_CONSTANT, 0, 0, 0),
)
"""Drops what leaves by a loopback interface; what follows decides on the rest."""


class LiveFilter:
    """What a live capture lets through.

    Parameters
    ----------
    expression : str or None
        As tcpdump takes it; None for everything.

    Raises
    ------
    UsageError
        libpcap is missing.
    """

    def __init__(self, expression: str | None) -> None:
        self.expression = expression
        self._library = None if expression is None else _Libpcap()
        self._again: FrameFilter | None = None

    def program(self, link_type: int, snaplen: int) -> bytes:
        """Give what the kernel is to run on frames of a link type.

        Raises
        ------
        UsageError
            The expression does not compile.
        """
        kept = max(snaplen - COOKED_BYTES, 1) if link_type == LINK_TYPE_LINUX_SLL2 else snaplen
        everything = WITHOUT_COPIES + struct.pack("=HBBI", RETURN_CONSTANT, 0, 0, kept)
        if self.expression is None or self._library is None:
            return everything
        compiled = self._compiled(self._library, self.expression, link_type)
        code = np.frombuffer(compiled, INSTRUCTION).copy()
        returns = (code["code"] == RETURN_CONSTANT) & (code["k"] != 0)
        code["k"][returns] = kept
        is_whole = not _names_tags(self.expression) and len(code) + 5 <= MOST_INSTRUCTIONS
        if is_whole and (link_type != LINK_TYPE_LINUX_SLL2 or _translate(code)):
            return WITHOUT_COPIES + code.tobytes()
        if self._again is None:
            try:
                self._again = FrameFilter(self.expression)
            except UsageError:
                raise UsageError(f"the filter {self.expression!r} cannot be used: {DIRECTIONS} with vlan") from None
        return everything

    def _compiled(self, library: Any, expression: str, link_type: int) -> bytes:
        try:
            try:
                found: bytes = library.compile(expression, link_type)
            except UsageError as failure:
                if DIRECTIONS not in str(failure):
                    raise
                found = library.compile(expression, link_type, is_live=True)
        except UsageError as failure:
            why = str(failure)
            if REJECTS_ALL in why:
                why = "it can match nothing on this interface"
            raise UsageError(f"the filter {expression!r} cannot be used: {why}") from None
        return found

    def apply(self, frames: Frames) -> Frames:
        """Look again, where the kernel could not be asked; give the frames that pass."""
        return frames if self._again is None else self._again.apply(frames)


def live_filter(expression: str | None) -> LiveFilter:
    """Make a filter; words without anything in them let everything through.

    Raises
    ------
    UsageError
        It cannot be one.
    """
    if expression is None or not expression.strip():
        return LiveFilter(None)
    try:
        if b"\0" in expression.encode():
            raise UsageError("the filter contains a NUL character")
    except UnicodeEncodeError:  # bytes of a command line that are no UTF-8 arrive as surrogates
        raise UsageError(f"the filter {expression!r} is not UTF-8") from None
    return LiveFilter(expression)


def _names_tags(expression: str) -> bool:
    """Tell whether the expression asks for tags, which the kernel has taken off."""
    return re.search(r"\bvlan\b", expression) is not None


def _translate(code: np.ndarray[Any, Any]) -> bool:
    """Let a program for cooked frames run on frames without their header; False if it cannot."""
    for each in code:
        kind, mode, at = int(each["code"]) & CLASS, int(each["code"]) & MODE, int(each["k"])
        if kind not in (LOAD, LOAD_INDEX) or mode not in (ABSOLUTE, INDIRECT, LENGTH, HEADER_LENGTH):
            continue
        if mode == LENGTH:
            return False  # the kernel's length is without the header
        if at >= COOKED_BYTES:
            each["k"] = at - COOKED_BYTES
        elif mode == ABSOLUTE and at in COOKED_FIELDS:
            each["k"] = COOKED_FIELDS[at]
        else:
            return False
    return True
