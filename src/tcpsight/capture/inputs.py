"""One named source from opening to closing: its file record, its reader, and the batches it gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from tcpsight.capture.following import FollowedSource, Following
from tcpsight.capture.formats import open_reader, unpacked
from tcpsight.capture.reader import CaptureFile
from tcpsight.capture.source import RawSource, is_reopenable, name_of, open_source
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Generator

    from tcpsight.capture.reader import ByteSource, Reader, ReadOptions
    from tcpsight.capture.source import Source


DECOMPRESSED = "the decompressed data"

SMALL_BYTES = 64 * 1024
"""A buffer of a file that is small, or looked at only."""


class Input:
    """One source of a capture.

    Parameters
    ----------
    source : path, ``-`` or open binary file
        What the user named.
    index : int
        Its place in the order given.
    options : ReadOptions
        What the user chose.
    stdin : binary file, optional
        What ``-`` means, if not standard input.
    """

    def __init__(self, source: Source, index: int, options: ReadOptions, stdin: BinaryIO | None = None) -> None:
        self._source = source
        self.options = options
        self._stdin = stdin
        self._raw: RawSource | None = None
        self._reader: Reader | None = None
        self._held: Frames | None = None
        self._last: Frames | None = None  # what was given last of a file that is mapped
        self._is_torn = False
        self._bytes_read = 0
        self.file = CaptureFile(index, name_of(source))
        self.is_reopenable = is_reopenable(source)
        self.identity: tuple[int, int] | None = None
        self.failure: CaptureError | None = None  # met by `look` before the first frame
        self.skipped: CaptureError | None = None
        self.first_digest = b""
        self.content = b""
        self.following: Following | None = None  # set by whoever wants to wait for more at its end
        self._followed: FollowedSource | None = None
        self._frames_before = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the file, as it is stored, read so far."""
        return self._bytes_read if self._raw is None else self._raw.bytes_read

    def open(self, *, is_glance: bool = False) -> None:
        """Open it and find out its format; at a glance only its first frame is wanted.

        Raises
        ------
        CaptureError
            It cannot be opened or is no capture.
        """
        if self._reader is not None:
            return
        file = self.file
        self._raw = open_source(self._source, self._stdin)
        file.bytes_total, self.identity = self._raw.bytes_total, self._raw.identity
        source: ByteSource = self._raw
        # A pipe waits by itself.
        if self.following is not None and self.identity is not None:
            source = self._followed = FollowedSource(self._raw, self.following)
            file.bytes_total = None
        try:
            self._reader = open_reader(source, file, self._options_for(file.bytes_total, is_glance=is_glance))
        except CaptureError as failure:
            self.close()
            raise self._placed(failure) from None

    def _options_for(self, bytes_total: int | None, *, is_glance: bool) -> ReadOptions:
        """Ask for no larger buffers than it needs: of thousands of small files these are most of what they cost."""
        if is_glance and self.is_reopenable:
            return replace(self.options, batch_frames=1, buffer_bytes=min(SMALL_BYTES, self.options.buffer_bytes))
        if bytes_total is None:
            return self.options
        # Decompressed it may be that much larger.
        enough = max(SMALL_BYTES, 8 * bytes_total)
        return replace(self.options, buffer_bytes=min(enough, self.options.buffer_bytes))

    def look(self) -> None:
        """Learn the time of the first frame and its digest, then go back to the start.

        What is not a regular file stays open and keeps its first batch.
        """
        try:
            self.open(is_glance=True)
            frames = self.read()
        except CaptureError as failure:
            if self.options.skips_bad:
                self._skip(failure)
                return
            # The newest of rotated files has often nothing in it yet: what the others hold is wanted all the same. What
            # is no capture at all is a mistake, better told before anything is read.
            if self._reader is None and self.file.bytes_total != 0:
                raise
            frames, self.failure = None, failure
        if self.skipped is not None:
            return  # in front of its first frame
        if frames is not None:
            from hashlib import sha256  # three milliseconds that most never need

            row = frames.rows[0]
            start = int(row["position"])
            data = bytes(frames.data[start : start + int(row["captured_bytes"])])
            self.first_digest = sha256(data).digest()
        if self.is_reopenable:
            known = self.file
            self.close()
            self._bytes_read = 0
            self.file = CaptureFile(known.index, known.path, known.format, known.compression, known.bytes_total)
            self.file.first_ns = known.first_ns
        else:
            self._held = frames
            self.file.frames = 0

    def read(self) -> Frames | None:
        """Give the next batch, or None at the end; opens the file if need be."""
        frames, self._held = self._held, None
        if frames is None:
            frames = self._read()
            if frames is None:
                return None
        if self.file.first_ns is None:
            self.file.first_ns = int(frames.rows["time_ns"][0])
        self.file.frames += len(frames)
        return frames

    def _read(self) -> Frames | None:
        if self.skipped is not None:
            return None
        try:
            return self._given()
        except CaptureError as failure:
            if not self.options.skips_bad:
                raise
            self._skip(failure)
            return None

    def _skip(self, failure: CaptureError) -> None:
        """Leave out what cannot be read, and count the file."""
        self.skipped = failure
        self.file.problem = str(failure).removeprefix(f"{failure.path}: ")
        self.file.unseen.add("bad_file")
        self.close()

    def _given(self) -> Frames | None:
        if self.failure is not None:
            raise self.failure
        while True:
            try:
                self.open()
                frames = self._sound()
            except CaptureError as failure:
                # A last record that is not whole has not been written yet.
                if self._followed is None or not self._followed.is_over:
                    raise self._placed(failure) from None
                frames = None
            if frames is not None or self._followed is None or not self._followed.change:
                return self._renumbered(frames)
            self._restart()

    def _sound(self) -> Frames | None:
        """Give the reader's next batch as far as it is true: a file that is mapped may be cut under whoever reads it.

        Raises
        ------
        CaptureError
            It was, and the frames in front of that were given; or as the reader.
        """
        assert self._reader is not None
        assert self._raw is not None
        if self._raw.mapping is None:
            return self._reader.read()
        if self._last is not None:
            untrue = len(self._last) - len(self._last.whole())
            self.file.frames -= untrue
            self._is_torn |= untrue > 0
        if self._is_torn:
            raise self._raw.torn(self.file.frames)
        try:
            frames = self._reader.read()
        except CaptureError as failure:
            if self._raw.is_torn:
                raise self._raw.torn(self.file.frames) from failure
            raise
        whole = Frames() if frames is None else frames.whole()
        self._is_torn = self._raw.is_torn if frames is None else len(whole) < len(frames)
        if self._is_torn and not len(whole):
            raise self._raw.torn(self.file.frames)
        self._last = whole
        return whole if len(whole) else None

    def _restart(self) -> None:
        """Read what the name means now, as the continuation of what it meant before."""
        self.close()
        self._followed = None
        self._frames_before = self.file.frames
        self.file.restarts += 1

    def _renumbered(self, frames: Frames | None) -> Frames | None:
        """Count frames on through what was read before a restart."""
        if frames is not None and self._frames_before:
            frames.rows["frame_number"] += self._frames_before
            frames.rows["frame_in_file"] += self._frames_before
        return frames

    def _placed(self, failure: CaptureError) -> CaptureError:
        """Say of an offset what it counts in, where that is not the file as it is stored."""
        if self.file.compression and not failure.offset_in:
            failure.offset_in = DECOMPRESSED
        return failure

    def batches(self) -> Generator[Frames, None, None]:
        """Give every batch, then close."""
        while (frames := self.read()) is not None:
            yield frames
        self.close()

    def learn(self, file: CaptureFile, bytes_read: int, failure: CaptureError | None) -> CaptureError | None:
        """Take what somebody else learnt who read it, by whatever name; give the failure as that of this file."""
        known, self.file = self.file, file
        file.path, file.bytes_total = known.path, known.bytes_total
        self._bytes_read = bytes_read
        if failure is None:
            return None
        return CaptureError(known.path, failure.offset, failure.reason, failure.offset_in)

    def content_digest(self) -> bytes:
        """Give a hash of the whole (decompressed) content of a regular file; nothing of a pipe.

        Raises
        ------
        CaptureError
            It cannot be read any more.
        """
        if not self.is_reopenable or self.skipped is not None:
            return b""
        from hashlib import sha256

        digest, view = sha256(), memoryview(bytearray(self.options.buffer_bytes))
        raw = open_source(self._source)
        try:
            source, _ = unpacked(raw)
            while count := source.readinto(view):
                digest.update(view[:count])
        except CaptureError as failure:
            digest.update(failure.reason.encode())
        finally:
            raw.close()
        return digest.digest()

    def close(self) -> None:
        """Close it; what was learnt stays."""
        if self._raw is not None:
            self._bytes_read = self._raw.bytes_read
            self._raw.close()
        self._raw = self._reader = self._held = self._last = None
