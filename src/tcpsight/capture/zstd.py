"""Decodes zstd frames block by block.

The library's own stream reader ends in silence where a file was cut, and its other decoder answers any
input with all of its output at once. So the frame format (RFC 8878 §3.1) is followed here: the library is
given one block at a time, which makes 128 KiB at most, and the end of the frame is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x2a\x4d\x18"
WINDOW_LIMIT = 2**27
"""The largest window that is decoded, as in ``zstd -d`` without ``--long``."""

DICTIONARY_ID_BYTES = (0, 1, 2, 4)
CONTENT_SIZE_BYTES = (0, 2, 4, 8)
BLOCK_RLE = 1


def zstd_decoders() -> Callable[[], ZstdDecoder]:
    """Give what makes the decoders of one file, one after another: they share the library's memory."""
    library = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
    return lambda: ZstdDecoder(library)


class ZstdDecoder:
    """One zstd frame, or one skippable frame, with the interface of ``lzma.LZMADecompressor``."""

    def __init__(self, library: zstandard.ZstdDecompressor) -> None:
        self.needs_input = True
        self._object = library.decompressobj()
        self._input = bytearray()
        self._output = memoryview(b"")
        self._skip = 0
        self._has_checksum = False
        # The step that takes the next unit of the frame; it tells whether that unit was there.
        self._step: Callable[[], bool] | None = self._header

    @property
    def eof(self) -> bool:
        """Whether the frame is complete and its output taken."""
        return self._step is None and not self._output

    @property
    def unused_data(self) -> bytes:
        """What follows the frame."""
        return bytes(self._input) if self._step is None else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take the next data, give at most `max_length` bytes."""
        self._input += data
        self.needs_input = False
        while not self._output and self._step is not None and not self.needs_input:
            self.needs_input = not self._step()
        out = bytes(self._output[:max_length])
        self._output = self._output[max_length:]
        return out

    def _decode(self, size: int) -> bool:
        """Give the library the next `size` bytes, if they are there."""
        if len(self._input) < size:
            return False
        self._output = memoryview(self._object.decompress(bytes(self._input[:size])))
        del self._input[:size]
        return True

    def _header(self) -> bool:
        """RFC 8878 §3.1.1.1 and §3.1.2."""
        if len(self._input) < 8:
            return False  # the shortest frame has nine bytes
        if self._input[1:4] == SKIPPABLE:
            self._skip = int.from_bytes(self._input[4:8], "little")
            del self._input[:8]
            self._step = self._skipping
            return True
        if self._input[:4] != MAGIC:
            raise ValueError("not a zstd frame")
        descriptor = self._input[4]
        is_single_segment = descriptor >> 5 & 1
        content_size_bytes = CONTENT_SIZE_BYTES[descriptor >> 6] or is_single_segment
        size = 5 + (1 - is_single_segment) + DICTIONARY_ID_BYTES[descriptor & 3] + content_size_bytes
        if not self._decode(size):
            return False
        self._has_checksum = bool(descriptor >> 2 & 1)
        self._step = self._block
        return True

    def _block(self) -> bool:
        """RFC 8878 §3.1.1.2."""
        if len(self._input) < 3:
            return False
        head = int.from_bytes(self._input[:3], "little")
        is_last, kind, size = head & 1, head >> 1 & 3, head >> 3
        if not self._decode(3 + (1 if kind == BLOCK_RLE else size)):
            return False
        if is_last:
            self._step = self._checksum if self._has_checksum else None
        return True

    def _checksum(self) -> bool:
        if not self._decode(4):
            return False
        self._step = None
        return True

    def _skipping(self) -> bool:
        size = min(self._skip, len(self._input))
        self._skip -= size
        del self._input[:size]
        if self._skip:
            return False
        self._step = None
        return True
