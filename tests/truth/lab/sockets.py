"""What a Linux socket tells of itself: TCP_INFO, field by field."""

from __future__ import annotations

import socket
import struct

# struct tcp_info of include/uapi/linux/tcp.h, in order. Kernels append fields: what is not there is not given.
_BYTES = ("state", "ca_state", "retransmits", "probes", "backoff", "options", "wscale", "delivery_rate_app_limited")
_WORDS = (
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets", "last_data_sent",
    "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh", "rtt", "rttvar", "snd_ssthresh",
    "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space", "total_retrans",
)  # fmt: skip
_REST: tuple[tuple[str, str], ...] = (
    ("Q", "pacing_rate"), ("Q", "max_pacing_rate"), ("Q", "bytes_acked"), ("Q", "bytes_received"),
    ("I", "segs_out"), ("I", "segs_in"), ("I", "notsent_bytes"), ("I", "min_rtt"), ("I", "data_segs_in"),
    ("I", "data_segs_out"), ("Q", "delivery_rate"), ("Q", "busy_time"), ("Q", "rwnd_limited"),
    ("Q", "sndbuf_limited"), ("I", "delivered"), ("I", "delivered_ce"), ("Q", "bytes_sent"), ("Q", "bytes_retrans"),
    ("I", "dsack_dups"), ("I", "reord_seen"), ("I", "rcv_ooopack"), ("I", "snd_wnd"), ("I", "rcv_wnd"),
    ("I", "rehash"), ("H", "total_rto"), ("H", "total_rto_recoveries"), ("I", "total_rto_time"),
)  # fmt: skip
NEVER = 0xFFFFFFFF
"""min_rtt before the first sample."""


def tcp_info(s: socket.socket) -> dict[str, int]:
    """Give the socket's TCP_INFO: times in microseconds, bytes, counts."""
    data = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512)
    found: dict[str, int] = dict(zip(_BYTES, data[:8], strict=True))
    found |= dict(zip(_WORDS, struct.unpack_from(f"={len(_WORDS)}I", data, 8), strict=True))
    at = 8 + 4 * len(_WORDS)
    for code, name in _REST:
        size = struct.calcsize("=" + code)
        if at + size > len(data):
            break
        found[name] = struct.unpack_from("=" + code, data, at)[0]
        at += size
    return found


_KEPT = (
    "state", "ca_state", "rto", "snd_mss", "rcv_mss", "advmss", "reordering", "rtt", "rttvar", "min_rtt",
    "snd_cwnd", "total_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in", "data_segs_in",
    "data_segs_out", "delivery_rate", "busy_time", "rwnd_limited", "sndbuf_limited", "delivered", "bytes_sent",
    "bytes_retrans", "dsack_dups", "reord_seen", "rcv_ooopack", "total_rto", "total_rto_recoveries",
    "total_rto_time",
)  # fmt: skip


def interesting(info: dict[str, int]) -> dict[str, int]:
    """Give the fields that truth is made of."""
    return {name: info[name] for name in _KEPT if name in info}
