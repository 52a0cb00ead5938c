from typing import Any

BLOCK_HEADER_BYTES: int
FRAME_HEADER_BYTES: int
COOKED_BYTES: int

class RingMemory:
    ring_bytes: int
    rings: int
    def __init__(self, rings: int, ring_bytes: int) -> None: ...
    def attach(self, index: int, descriptor: int) -> bool: ...
    def detach(self, index: int) -> bool: ...
    def __buffer__(self, flags: int) -> memoryview: ...

class BlockWalk:
    frames: int
    damaged: int
    held: int
    last_ns: int
    oldest: int
    def __init__(
        self, *, first: int, block_bytes: int, blocks: int, snaplen: int, link_type: int, interface_id: int
    ) -> None: ...
    def walk(self, data: Any, rows: Any, most_blocks: int) -> int: ...
    def release(self, data: Any, kept: int = -1) -> None: ...
