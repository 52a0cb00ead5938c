"""Decompresses a stream as it is read, in bounded memory; knows exactly where a stream was cut.

A file may hold several streams one after another, as ``cat a.gz b.gz`` makes them. A decoder is never
asked for more than the reader's buffer takes, so a small file that unpacks to terabytes costs no memory;
and it is given up where no capture unpacks to so much, so that it costs no hours either.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tcpsight.capture.reader import ByteSource

READ_BYTES = 64 * 1024
"""Compressed bytes read at a time."""

MEMORY_LIMIT = 256 * 1024 * 1024
"""What a decoder may use at most; ``xz -9`` needs 65 MiB, ``zstd --ultra -22`` 128 MiB."""

FREE_BYTES = 64 * 1024 * 1024
RATIO_LIMIT = 300
"""What unpacks to more than `FREE_BYTES` may be so many times as large as what was read of it.

Frames of 1500 equal bytes, headers aside, come to 100; gzip reaches 1032 on zeros, zstd tens of thousands.
"""

MAGIC_BYTES = 6
"""As many bytes as the longest of the magic numbers below."""


class Decoder(Protocol):
    """One compressed stream; the standard library's decompressors look like this."""

    @property
    def eof(self) -> bool:
        """Whether the stream is complete."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more data."""

    @property
    def unused_data(self) -> bytes | None:
        """What follows the complete stream in the data already given."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take the next data, give at most `max_length` bytes."""


class GzipDecoder:
    """One gzip member, with the interface of the other decoders.

    Where the data is damaged, all that comes before the damage is given before the error is raised.
    """

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        self._failure: zlib.error | None = None
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take the next data, give at most `max_length` bytes."""
        if self._failure is not None:
            raise self._failure
        data = self._object.unconsumed_tail + data
        # The library drops what it made in the call that fails. A copy costs less than a percent.
        before = self._object.copy()
        try:
            out = self._object.decompress(data, max_length)
        except zlib.error as failure:
            self._failure = failure
            self.needs_input = False
            return _sound_part(before, data)
        # A full answer may be the first part of a longer one, even when all input is consumed.
        self.needs_input = len(out) < max_length and not self._object.unconsumed_tail
        return out


def _sound_part(decoder: zlib._Decompress, data: bytes) -> bytes:
    """Give what comes before the damage in `data`, by ever smaller steps."""
    out = bytearray()
    for step in (4096, 64, 1):
        while True:
            trial = decoder.copy()
            try:
                part = trial.decompress(data, step)
            except zlib.error:
                break
            if not part:
                break
            out += part
            decoder, data = trial, trial.unconsumed_tail
    # The last byte comes with what is behind it.
    for place in range(len(data)):
        decoder = decoder.copy()
        try:
            out += decoder.decompress(data[place : place + 1])
        except zlib.error:
            break
    return bytes(out)


class Lz4Decoder:
    """One lz4 frame: the library's decoder, but for what it holds of a block that was not asked for in whole."""

    def __init__(self) -> None:
        from lz4.frame import LZ4FrameDecompressor

        self._object = LZ4FrameDecompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the frame is complete."""
        return bool(self._object.eof)

    @property
    def unused_data(self) -> bytes:
        """What follows the frame."""
        return self._object.unused_data or b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take the next data, give at most `max_length` bytes."""
        out: bytes = self._object.decompress(data, max_length)
        # The library says that it needs input as soon as it has taken all, with the rest of a block still to give.
        self.needs_input = self._object.needs_input and len(out) < max_length
        return out


def _zstd_decoders() -> Callable[[], Decoder]:
    from tcpsight.capture.zstd import zstd_decoders

    return zstd_decoders()


class Compression(NamedTuple):
    """A way of compressing: its name, what gives the decoders of one file, how much they are asked for at a time.

    What a library makes in the call that meets damage is lost, so those are asked for little that go byte by byte.
    """

    name: str
    decoders: Callable[[], Callable[[], Decoder]]
    step: int = 1 << 30


GZIP = Compression("gzip", lambda: GzipDecoder)
ZSTD = Compression("zstd", _zstd_decoders)
LZ4 = Compression("lz4", lambda: Lz4Decoder)
XZ = Compression("xz", lambda: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY_LIMIT), 4096)
BZIP2 = Compression("bzip2", lambda: bz2.BZ2Decompressor, 4096)

MAGICS: Mapping[bytes, Compression] = {
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"\x04\x22\x4d\x18": LZ4,
    b"\xfd7zXZ\x00": XZ,
    b"BZh": BZIP2,
    # Skippable frames: lz4 has them too, but it is pzstd that writes them first.
    **{bytes([0x50 | n, 0x2A, 0x4D, 0x18]): ZSTD for n in range(16)},
}


def compression_of(prefix: bytes) -> Compression | None:
    """Tell how a file that begins with `prefix` is compressed; None if it is not."""
    return next((c for magic, c in MAGICS.items() if prefix.startswith(magic)), None)


UNPACKERS = {"gzip": "gzip -dc", "zstd": "zstd -dc", "lz4": "lz4 -dc", "xz": "xz -dc", "bzip2": "bzip2 -dc"}
"""What unpacks to a pipe."""


UNPACKERS_OF_MUCH = UNPACKERS | {"zstd": "zstd -dc --long=31", "xz": "xz -dc -M 4GiB"}
"""What unpacks what was packed with a window that is larger than usual."""


class DecompressedSource:
    """The decompressed bytes of a compressed source.

    Parameters
    ----------
    source : ByteSource
        The compressed bytes, from the first.
    compression : Compression
        How they are compressed.
    """

    def __init__(self, source: ByteSource, compression: Compression) -> None:
        self.path = source.path
        self._source = source
        self._compression = compression
        self._begin = compression.decoders()
        self._decoder = self._begin()
        self._input = memoryview(bytearray(READ_BYTES))
        self._pending = b""
        self._offset = 0
        self._bytes_read = 0
        self._failure: CaptureError | None = None

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view`; give how many bytes, 0 only at the end."""
        if self._failure is not None:
            raise self._failure
        filled = 0
        while filled < len(view):
            try:
                out = self._part(min(len(view) - filled, self._compression.step), is_first=filled == 0)
            except CaptureError as failure:
                if not filled:
                    raise
                # Not before what is in front of it.
                self._failure = failure
                break
            if not out:
                break
            view[filled : filled + len(out)] = out
            filled += len(out)
            self._offset += len(out)
        return filled

    def _part(self, most: int, *, is_first: bool) -> bytes:
        """Give the next bytes; none at the end, nor, unless they are the first, where they must be waited for."""
        self._check_ratio()
        while True:
            if self._decoder.eof and not self._next_stream(may_wait=is_first):
                return b""
            data, self._pending = self._pending, b""
            if not data and self._decoder.needs_input:
                if not is_first:
                    return b""
                data = self._read()
                if not data:
                    name = self._compression.name
                    raise CaptureError(self.path, self._offset, f"the {name} data ends early; the file was cut short")
            out = self._decode(data, most)
            if out:
                return out

    def _check_ratio(self) -> None:
        if self._offset > FREE_BYTES and self._offset > RATIO_LIMIT * self._bytes_read:
            name = self._compression.name
            reason = f"the {name} data unpacks to more than {RATIO_LIMIT} times its size; if that is right, unpack it"
            raise CaptureError(self.path, self._offset, f"{reason} yourself: {UNPACKERS[name]} FILE | tcpsight … -")

    def _read(self) -> bytes:
        count = self._source.readinto(self._input)
        self._bytes_read += count
        return bytes(self._input[:count])

    def _next_stream(self, *, may_wait: bool) -> bool:
        """Begin the stream that follows, past padding with zeros; tell whether there is one, or is one already."""
        data = (self._decoder.unused_data or b"").lstrip(b"\0")
        while not data:
            data = self._read() if may_wait else b""
            if not data:
                return False
            data = data.lstrip(b"\0")
        self._pending = data
        self._decoder = self._begin()
        return True

    def _decode(self, data: bytes, most: int) -> bytes:
        try:
            return self._decoder.decompress(data, most)
        except Exception as error:  # each library has its own, and none has anything to tell apart
            name = self._compression.name
            reason = f"the {name} data is damaged ({error})"
            if "memory" in str(error).lower():
                # The words of zstd for a window, of lzma for a dictionary, beyond the limits above.
                reason = f"the {name} data asks for too much memory; unpack it yourself:"
                reason += f" {UNPACKERS_OF_MUCH[name]} FILE | tcpsight … -"
            raise CaptureError(self.path, self._offset, reason) from error
