"""Captures that need nothing from elsewhere: conversations written here, and the first frames of the examples.

What peers say of them is stored in ``stored/``; `store` asks them anew (``python -m tests.peers.selfmade``).
"""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from tests.peers.comparing import Source
from tests.peers.tshark import FIELDS
from tests.support.headers import Row, rows_of
from tests.support.pcap import Frame, pcap_bytes, tcp_frame

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("stored")
EXAMPLE_FRAMES = 600
START_NS = 1_700_000_000 * 10**9

# In the language of tests/support/headers.py.
SCRIPTS = {
    "plain": """
        0    > S ws=7
        10   < SA ws=7
        20   > A
        21   > PA 100
        40   < PA 1000
        41   < PA 500
        60   > A
        70   > FA
        80   < FA
        90   > A
    """,
    "lost-before-the-capture": """
        0    > S
        10   < SA
        20   > A
        30   > A 1000
        31   > A 1000 seq=+1000
        32   > A 1000
        41   < A acked=1000
        240  > A 1000 off=1000       # fills the hole, a time-out later
        250  < A
        260  > FA
        270  < FA
        280  > A
    """,
    "out-of-order": """
        0    > S
        10   < SA
        20   > A
        30   < A 1000
        31   < A 1000 off=2000
        31.5 < A 1000 off=1000       # half a millisecond late
        32   < A 1000 off=3000
        40   > A
    """,
    "sent-again": """
        0    > S
        10   < SA
        20   > A
        30   > PA 300
        240  > PA 300 off=0
        250  < A
        260  > PA 700
        261  > PA 700
        470  > PA 900 off=300        # old bytes, and some of those behind them
        480  < A
        490  > PA 1400 off=700       # old and new bytes
        500  < A
        510  > FA
        720  > FA seq=-1
        730  < FA
        740  > A
    """,
    "captured-twice": """
        0    > S
        0.1  > copy ttl=63
        10   < SA
        10.1 < copy ttl=63
        20   > A
        20.1 > copy ttl=63
        30   > PA 300
        30.1 > copy ttl=63
        40   < PA 900
        40.1 < copy ttl=63
        50   > FA
        50.1 > copy ttl=63
        60   < FA
        60.1 < copy ttl=63
    """,
    "keep-alive": """
        0      > S
        10     < SA
        20     > A
        30     > PA 300
        40     < PA 900
        50     > A
        75050  > A seq=-1            # without a byte
        75060  < A
        150060 > A 1 seq=-1          # with one
        150070 < A
        150080 > PA 100
        150090 < A
    """,
    "zero-window": """
        0    > S
        10   < SA
        20   > A
        30   > A 1000
        40   < A win=0
        240  > A 1
        250  < A win=0 acked=1000
        650  > A 1 off=1000
        660  < A win=0 acked=1000
        700  < A win=1000 acked=1000
        710  > A 1000 off=1000
        720  < A
    """,
    "ports-used-again": """
        0    > S  seq=1000
        10   < SA seq=5000
        20   > A
        30   > FA
        40   < FA
        50   > A
        90   > S  seq=90000
        100  < SA seq=70000
        110  > A
        120  > PA 40
        130  < RA
        140  > S  seq=200000
        150  < RA
    """,
    "silent-for-five-minutes": """
        0       > S
        10      < SA
        20      > A
        30      > PA 300
        40      < PA 300
        300040  > PA 300
        300050  < PA 300
        300060  > A
    """,
    "handshakes": """
        0      > S port=41000 seq=1000
        1000   > S port=41000 seq=1000
        1010   < SA port=41000 seq=9000
        1020   > A port=41000
        2000   > S port=41001 seq=1000
        2010   < RA port=41001 seq=0
        3000   > S port=41002 seq=1000
        4000   > S port=41002 seq=1000
        6000   > S port=41002 seq=1000
        7000   > S port=41003 seq=1000
        7005   < S port=41003 seq=9000
        7010   > SA port=41003 seq=1000
        7015   < SA port=41003 seq=9000
        8000   > S port=41004 seq=1000
        8010   < SA port=41004 seq=9000
        8300   < SA port=41004 seq=9000
        8310   > A port=41004
    """,
    "wraparound": """
        0    > S seq=4294966000
        10   < SA seq=4294967295
        20   > A
        30   > A 1000
        31   > A 1000
        40   < A 1000
        41   < A
        50   > A 1000
        260  > A 1000 off=2000
        270  < A
        280  > FA
        290  < FA
        300  > A
    """,
    "begun-before-the-capture": """
        0    > PA 100 seq=50000
        10   < PA 900 seq=70000
        20   > A
        30   > PA 100
        31   > PA 100 seq=49900      # sent before the first frame
        40   < A
    """,
    "data-on-a-reset": """
        0    > S
        10   < SA
        20   > A
        30   > PA 300
        40   < RA 20
    """,
    "version-6": """
        0    > S v6 ts=100/0
        10   < SA v6 ts=900/100
        20   > A v6 ts=110/900
        30   > PA 300 v6 ts=120/900
        240  > PA 300 off=0 v6 ts=330/900
        250  < PA 900 v6 ts=1140/330
        260  > FA v6 ts=340/1140
        270  < FA v6 ts=1160/340
    """,
}


def frame_of(row: Row) -> Frame:
    """Write a row of the language as a frame."""
    version = row["ip_version"]
    source, destination = (_address(row[f"{who}_address"].tobytes(), version) for who in ("source", "destination"))
    options = b""
    if row.get("window_scale"):
        options += struct.pack("BBBB", 1, 3, 3, row["window_scale"])
    if "timestamp_value" in row:
        options += struct.pack(">BBBBII", 1, 1, 8, 10, row["timestamp_value"], row["timestamp_echo"])
    data = tcp_frame(
        source, destination, row["source_port"], row["destination_port"], row["sequence_number"],
        row["acknowledgment_number"], row["flags"], bytes(row["payload_bytes"]),
        window=row["window"], options=options, ttl=row["ttl"], ip_id=row["ip_id"],
    )  # fmt: skip
    return Frame(START_NS + row["time_ns"], data)


def _address(packed: bytes, version: int) -> str:
    return f"10.0.0.{packed[15]}" if version == 4 else f"fd00::{packed[15]}"


def first_frames(capture: bytes, count: int) -> bytes:
    """Cut a classic pcap file behind so many frames."""
    endian = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    end = 24
    for _ in range(count):
        if end < len(capture):
            end += 16 + struct.unpack_from(endian + "I", capture, end + 8)[0]
    return capture[:end]


def make(folder: Path) -> list[Source]:
    """Write the captures into a folder."""
    captures = {
        f"self-made/{name}.pcap": pcap_bytes(map(frame_of, rows_of(script))) for name, script in SCRIPTS.items()
    }
    for example in sorted((ROOT / "examples").glob("*.pcap")):
        captures[f"examples/{example.name}"] = first_frames(example.read_bytes(), EXAMPLE_FRAMES)
    sources = []
    for name, data in captures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        results = STORED / name.replace("/", "-")
        sources.append(Source(name, path, Path(f"{results}.tshark.tsv.xz"), Path(f"{results}.tcptrace.txt.xz")))
    return sources


def store() -> None:
    """Ask tshark and tcptrace what they make of the captures, and store it."""
    shutil.rmtree(STORED, ignore_errors=True)
    STORED.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        for source in make(Path(folder)):
            fields = [word for field in FIELDS for word in ("-e", field)]
            _run(["tshark", "-r", source.capture, "-T", "fields", "-E", "header=y", *fields], source.tshark)
            _run(["tcptrace", "-n", "-l", "-r", "-W", source.capture], source.tcptrace)


def _run(command: list[str | Path], target: Path) -> None:
    # tcptrace leaves some captures with an error; what it printed before is its result.
    output = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    target.write_bytes(lzma.compress(output, preset=9))


if __name__ == "__main__":
    store()
