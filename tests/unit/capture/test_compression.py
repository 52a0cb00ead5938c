"""Compression is told by content; damage and cuts are told from the end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tracemalloc
from random import Random

import lz4.frame
import pytest
import zstandard

from tcpsight.capture.decompression import MAGIC_BYTES, DecompressedSource, compression_of
from tcpsight.capture.source import RawSource
from tests.support.capture import Trickle, read_capture
from tests.support.pcap import pcap_bytes

NOISE = Random(1)
CONTENT = pcap_bytes([(n, NOISE.randbytes(50) + bytes(50)) for n in range(2000)])
COMPRESSORS = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
EACH = pytest.mark.parametrize("name", COMPRESSORS)


@EACH
def test_compression_is_told_by_content(name):
    outcome = read_capture(COMPRESSORS[name](CONTENT))
    assert len(outcome.rows) == 2000
    assert outcome.error is None
    assert outcome.rows == read_capture(CONTENT).rows
    assert outcome.capture is not None
    assert (outcome.capture.files[0].compression, outcome.capture.files[0].format) == (name, "pcap")


@EACH
def test_streams_one_after_another_are_one_file(name):
    compress = COMPRESSORS[name]
    packed = compress(CONTENT[:70_000]) + compress(b"") + compress(CONTENT[70_000:])
    assert len(read_capture(packed).rows) == 2000
    assert len(read_capture(Trickle(packed, [1000, 1, 7])).rows) == 2000


@EACH
def test_many_small_streams_fill_what_is_asked_for(name):
    packed = b"".join(COMPRESSORS[name](CONTENT[at : at + 7]) for at in range(0, 2000, 7))
    compression = compression_of(packed[:MAGIC_BYTES])
    assert compression is not None
    source = DecompressedSource(RawSource("small", Trickle(packed, [1 << 20]), is_ours=False), compression)
    view = memoryview(bytearray(10_000))
    first = source.readinto(view)
    # As much as one read of compressed data holds, whatever the streams in it.
    assert first > 500
    assert bytes(view[:first]) == CONTENT[:first]


@pytest.mark.parametrize("name", ["gzip", "xz"])
def test_padding_with_zeros_is_passed_over(name):
    packed = COMPRESSORS[name](CONTENT)
    outcome = read_capture(packed + bytes(100_000) + packed[:0])
    assert len(outcome.rows) == 2000
    assert outcome.error is None


@EACH
def test_what_follows_the_stream_is_not_ignored(name):
    outcome = read_capture(COMPRESSORS[name](CONTENT) + b"something else, long enough to be a header")
    assert len(outcome.rows) == 2000
    assert f"the {name} data is damaged" in str(outcome.error)


@EACH
@pytest.mark.parametrize("missing", [1, 3, 5, 1000])
def test_a_cut_stream_gives_the_frames_before_the_cut_and_an_error(name, missing):
    outcome = read_capture(COMPRESSORS[name](CONTENT)[:-missing])
    assert outcome.error is not None
    assert f"the {name} data ends early; the file was cut short" in outcome.error.reason
    assert outcome.rows == read_capture(CONTENT).rows[: len(outcome.rows)]
    if missing <= 3 and name in ("gzip", "zstd"):
        # Only the end mark was missing.
        assert len(outcome.rows) == 2000


@EACH
def test_damage_in_the_middle_is_an_error(name):
    packed = bytearray(COMPRESSORS[name](CONTENT))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    assert read_capture(bytes(packed)).error is not None


@pytest.mark.parametrize(
    "parameters",
    [
        {"write_checksum": False, "write_content_size": True},
        {"write_checksum": True, "write_content_size": False},
        {"level": 19},
        {"level": 1, "threads": 2},
    ],
)
def test_every_kind_of_zstd_frame_is_followed(parameters):
    compressor = zstandard.ZstdCompressor(**parameters)
    streamed = compressor.compressobj()
    for packed in (compressor.compress(CONTENT), streamed.compress(CONTENT) + streamed.flush()):
        assert len(read_capture(packed).rows) == 2000
        assert read_capture(packed[:-1]).error is not None


def test_skippable_zstd_frames_are_skipped():
    skippable = struct.pack("<II", 0x184D2A53, 70_000) + NOISE.randbytes(70_000)
    packed = COMPRESSORS["zstd"](CONTENT)
    assert len(read_capture(skippable + packed + skippable).rows) == 2000
    assert "ends early" in str(read_capture(packed + skippable[:-1]).error)


@EACH
def test_a_small_file_that_unpacks_to_a_large_one_does_not_fill_the_memory(name):
    packed = COMPRESSORS[name](bytes(50_000_000))
    compression = compression_of(packed[:MAGIC_BYTES])
    assert compression is not None
    source = DecompressedSource(RawSource("bomb", Trickle(packed, [1 << 20]), is_ours=False), compression)
    view = memoryview(bytearray(256 * 1024))
    tracemalloc.start()
    total = 0
    while count := source.readinto(view):
        total += count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 50_000_000
    assert peak < 16_000_000  # xz keeps a dictionary of 8 MiB


def test_a_window_beyond_the_limit_is_not_called_damage():
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(CONTENT) + packer.flush()
    assert "asks for too much memory; unpack it yourself: zstd -dc --long=31" in str(read_capture(packed).error)


@EACH
def test_one_compression_inside_another_is_named(name):
    outcome = read_capture(COMPRESSORS[name](gzip.compress(CONTENT)))
    assert outcome.rows == []
    assert f"is gzip inside {name}; unpack it once first" in str(outcome.error)


@EACH
def test_what_unpacks_to_far_more_than_any_capture_is_given_up_with_the_way_out(name, monkeypatch):
    monkeypatch.setattr("tcpsight.capture.decompression.FREE_BYTES", 1_000_000)
    sound = pcap_bytes([(1, bytes(1000))] * 3)
    # Frames of no bytes at all, as long as the reader goes on.
    packed = COMPRESSORS[name](sound + bytes(4_000_000))
    outcome = read_capture(packed)
    if len(packed) * 300 > 4_000_000:
        assert outcome.error is None
        return
    assert len(outcome.rows) > 3
    assert outcome.error is not None
    assert "unpacks to more than 300 times its size" in outcome.error.reason
    assert "| tcpsight … -" in outcome.error.reason
    assert read_capture(COMPRESSORS[name](sound + bytes(160_000))).error is None


def test_gzip_of_zeros_is_beyond_the_limit(monkeypatch):
    monkeypatch.setattr("tcpsight.capture.decompression.FREE_BYTES", 1_000_000)
    outcome = read_capture(gzip.compress(pcap_bytes([]) + bytes(8_000_000)))
    assert "unpacks to more than 300 times its size" in str(outcome.error)


@EACH
def test_offsets_of_a_compressed_file_are_said_to_be_those_of_its_content(name, tmp_path):
    cut = CONTENT[:-10]
    outcome = read_capture(COMPRESSORS[name](cut))
    assert outcome.error is not None
    assert str(outcome.error).endswith(f"(at byte {len(CONTENT) - 116} of the decompressed data)")
    assert str(read_capture(cut).error).endswith(f"(at byte {len(CONTENT) - 116})")
    # Where several files are damaged, too.
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(COMPRESSORS[name](cut if path.name == "a" else cut[:-300]))
    assert "of the decompressed data" in str(read_capture(*paths).error)


def test_an_offset_where_the_file_itself_cannot_be_read_is_that_of_the_file():
    class Failing(Trickle):
        def readinto(self, view):
            count = super().readinto(view)
            if count == 0:
                raise OSError(5, "Input/output error")
            return count

    packed = gzip.compress(CONTENT)[:-5]
    outcome = read_capture(Failing(packed, [1000]))
    assert str(outcome.error).endswith(f"cannot be read: Input/output error (at byte {len(packed)} of the file)")


@EACH
@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_what_comes_before_the_damage_is_given(name, place):
    packed = bytearray(COMPRESSORS[name](CONTENT))
    at = int(len(packed) * place)
    packed[at : at + 3] = b"\xff\xff\xff"
    whole = read_capture(bytes(packed))
    assert whole.error is not None
    if name == "gzip":
        # However the file comes.
        trickled = read_capture(Trickle(bytes(packed), [7]))
        assert len(whole.rows) >= place * 1900
        assert abs(len(trickled.rows) - len(whole.rows)) <= 1
    if name == "xz":
        assert len(whole.rows) >= place * 1900


def test_a_whole_block_of_a_cut_lz4_file_is_given_however_little_is_asked_for():
    cut = lz4.frame.compress(CONTENT[: 24 + 100 * 116], content_checksum=False)[:-4]  # the end mark
    for source in (cut, Trickle(cut, [1000])):
        outcome = read_capture(source, buffer_bytes=200)
        assert len(outcome.rows) == 100
        assert "cut short" in str(outcome.error)
