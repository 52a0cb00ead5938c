#!/usr/bin/env python3
"""Print the table of captures for the README, measured from the files themselves.

    describe.py FILE.pcap...

A connection is counted for every first SYN (same addresses, ports and initial sequence
number counted once). "Cut" is yes when no frame holds a byte after its TCP header.
"""

from __future__ import annotations

import ipaddress
import os
import sys

from cut_payload import frames, open_capture, segment

LINK_NAMES = {1: "Ethernet", 101: "raw IP", 113: "Linux cooked", 276: "Linux cooked v2"}
SYN, ACK = 0x02, 0x10


def describe(path: str) -> str:
    """Give one row of the table."""
    count, times, payload, is_cut = 0, [], 0, True
    opened, clients = set(), set()
    with open(path, "rb") as stream:
        capture = open_capture(stream)
        for frame in frames(capture):
            found = segment(capture.link_type, frame.data)
            count += 1
            times.append(frame.time_ns)
            if found is None:
                is_cut = False
                continue
            is_cut = is_cut and found.end == len(frame.data)
            payload += found.payload_bytes
            if frame.data[found.tcp + 13] & (SYN | ACK) == SYN:
                clients.add(found.source)
                key = frame.data[found.tcp : found.tcp + 8]  # ports and ISN
                opened.add((found.source, found.destination, key))
    names = sorted(str(ipaddress.ip_address(address)) for address in clients)
    clock = "µs" if capture.ticks_to_ns == 1000 else "ns"
    cells = [
        f"`{os.path.basename(path)}`",
        f"{os.path.getsize(path):,}",
        f"{(max(times) - min(times)) / 1e9:.1f} s",
        f"{count:,}",
        f"{len(opened):,}",
        f"{payload:,}",
        f"{LINK_NAMES[capture.link_type]}, {clock}",
        ", ".join(names),
        "yes" if is_cut else "NO",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(
        "| file | bytes | lasts | frames | connections | payload bytes on the wire | link type, clock | clients | cut |"
    )
    print("|---|--:|--:|--:|--:|--:|---|---|---|")
    for name in sys.argv[1:]:
        print(describe(name))
