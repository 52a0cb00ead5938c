from typing import Any

PCAP_RECORD_BYTES: int
PCAPNG_RECORD_BYTES: int

def pcap_records(frames: Any, data: Any, kept: Any, out: Any, tick_ns: int) -> int: ...
def pcapng_records(frames: Any, data: Any, kept: Any, out: Any) -> int: ...
