"""What tshark said of a capture: one `Frame` per frame that holds TCP."""

from __future__ import annotations

import csv
import io
import ipaddress
from dataclasses import dataclass

Endpoint = tuple[str, int]

FIN, SYN, RST, ACK = 1, 2, 4, 16
# tshark marks one frame with several of these; the first one here is the most specific.
KIND_MARKS = (
    ("spurious_retransmission", "spurious"),
    ("fast_retransmission", "fast"),
    ("out_of_order", "out_of_order"),
    ("retransmission", "retransmission"),
    ("keep_alive", "keep_alive"),
    ("zero_window_probe", "zero_window_probe"),
)


# What is asked of tshark, in the order of its columns.
FIELDS = (
    *(f"frame.{name}" for name in ("number", "time_epoch", "len", "cap_len", "protocols")),
    *(f"ip.{name}" for name in ("src", "dst", "flags.mf", "frag_offset")),
    *(f"ipv6.{name}" for name in ("src", "dst", "fraghdr.offset")),
    *(f"tcp.{name}" for name in ("stream", "srcport", "dstport", "seq_raw", "seq", "ack_raw", "len", "flags")),
    "tcp.window_size_value",
    *(f"tcp.analysis.{mark}" for mark, _ in KIND_MARKS),
    *(f"tcp.analysis.{name}" for name in ("zero_window", "acks_frame", "ack_rtt", "initial_rtt")),
    *(f"tcp.analysis.{name}" for name in ("duplicate_ack", "window_full")),
)


@dataclass(slots=True)
class Frame:
    """One frame with TCP, in tshark's words; sequence numbers are those of the wire."""

    number: int
    time_ns: int
    stream: int
    source: Endpoint
    destination: Endpoint
    sequence: int
    relative: int
    acknowledgment: int
    length: int
    flags: int
    window: int
    kind: str
    is_zero_window: bool
    layers: list[str]
    is_fragment: bool
    is_cut: bool
    ack_rtt_ns: int
    acks_frame: int
    initial_rtt_ns: int
    is_duplicate_ack: bool
    fills_window: bool

    @property
    def beginning(self) -> int:
        """Where in its stream the first payload byte lies, as tshark numbers it: the stream's first byte is 1."""
        return (self.relative + (self.flags >> 1 & 1) + 2**31) % 2**32 - 2**31


def frames_of(output: str) -> tuple[dict[int, Frame], dict[int, Frame]]:
    """Give tshark's frames with TCP by number, and those with a TCP header that it could not read to its end."""
    frames: dict[int, Frame] = {}
    unread: dict[int, Frame] = {}
    for row in csv.DictReader(io.StringIO(output), delimiter="\t", quoting=csv.QUOTE_NONE):
        number = int(row["frame.number"])
        if row["tcp.stream"] and row["tcp.len"]:
            frames[number] = _frame(number, row)
        elif row["tcp.srcport"]:
            unread[number] = _frame(number, row)
    return frames, unread


def _frame(number: int, row: dict[str, str]) -> Frame:
    layers = row["frame.protocols"].split(":")
    source, destination = _addresses(layers, row)
    fragment_fields = (row["ip.flags.mf"], row["ip.frag_offset"], row["ipv6.fraghdr.offset"])
    return Frame(
        number=number,
        time_ns=_nanoseconds(row["frame.time_epoch"]),
        stream=_number(row["tcp.stream"]),
        source=(source, _number(row["tcp.srcport"])),
        destination=(destination, _number(row["tcp.dstport"])),
        sequence=_number(row["tcp.seq_raw"]),
        relative=_number(row["tcp.seq"]),
        acknowledgment=_number(row["tcp.ack_raw"]),
        length=_number(row["tcp.len"]),
        flags=_number(row["tcp.flags"]) & 0x1FF,
        window=_number(row["tcp.window_size_value"]),
        kind=next((kind for mark, kind in KIND_MARKS if row[f"tcp.analysis.{mark}"]), "new"),
        is_zero_window=bool(row["tcp.analysis.zero_window"]),
        layers=layers,
        is_fragment=any(value not in ("", "0") for field in fragment_fields for value in field.split(",")),
        is_cut=row["frame.len"] != row["frame.cap_len"],
        ack_rtt_ns=_nanoseconds(row["tcp.analysis.ack_rtt"]),
        acks_frame=_number(row["tcp.analysis.acks_frame"]),
        initial_rtt_ns=_nanoseconds(row["tcp.analysis.initial_rtt"]),
        is_duplicate_ack=bool(row["tcp.analysis.duplicate_ack"]),
        fills_window=bool(row["tcp.analysis.window_full"]),
    )


def _addresses(layers: list[str], row: dict[str, str]) -> tuple[str, str]:
    """The addresses of the IP header next before TCP."""
    before = layers[: layers.index("tcp")] if "tcp" in layers else layers
    name = next((layer for layer in reversed(before) if layer in ("ip", "ipv6")), "ip")
    return normal(row[f"{name}.src"].split(",")[-1]), normal(row[f"{name}.dst"].split(",")[-1])


def normal(address: str) -> str:
    """Write an address the usual way; tcptrace pads the parts of IPv6 addresses with zeros."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        # It loses one of two leading colons.
        return str(ipaddress.ip_address(":" + address))


def _number(text: str) -> int:
    return int(text.split(",", maxsplit=1)[0], 0) if text else 0


def _nanoseconds(text: str) -> int:
    """-1 where there is none."""
    if not text:
        return -1
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + (-1 if whole.startswith("-") else 1) * int(fraction.ljust(9, "0")[:9])
