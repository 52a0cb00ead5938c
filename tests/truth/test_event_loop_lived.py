"""Redis with a slow command while many clients ask: the command that kept it busy is named, not what was in flight."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tcpsight
from tests.conftest import require_program
from tests.support.live_network import is_listening, own_network, recorded, require_live_network, until

pytestmark = pytest.mark.live

PORT = 6379
SLOW_US = 150_000
BUSY = (
    "local t = redis.call('TIME') local start = t[1] * 1000000 + t[2] "
    "repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] - start > ARGV[1] * 1 return 'at last'"
)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[None]:
    require_live_network()
    require_program("ip")
    with own_network():
        command = [require_program("redis-server"), "--port", str(PORT), "--save", "", "--dir", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                until(lambda: is_listening(PORT), "redis-server")
                yield
            finally:
                process.terminate()
                process.wait(timeout=10)


def command(*words: object) -> bytes:
    """Write a command as Redis reads it (RESP 2)."""
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def ask_on(number: int, think_s: float, stop: threading.Event) -> None:
    chance = random.Random(number)
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        while not stop.is_set():
            connection.sendall(command("SET", f"key:{number}", "v" * 30))
            connection.recv(4096)
            time.sleep(think_s * chance.expovariate(1))


def in_the_midst(row: dict[str, int], asked_ns: int, answered_ns: int) -> bool:
    """Say whether a finding covers the middle of the time in which a slow command ran."""
    middle_ns = (asked_ns + answered_ns) // 2
    return row["start_ns"] <= middle_ns <= row["end_ns"]


@pytest.mark.parametrize(("clients", "think_s"), [(10, 0.002), (30, 0.0002)], ids=["some load", "nearly all it can"])
@pytest.mark.usefixtures("redis")
def test_the_command_that_kept_redis_busy_is_named(tmp_path: Path, clients: int, think_s: float):
    stop = threading.Event()
    with recorded(tmp_path / "redis.pcap"):
        others = [threading.Thread(target=ask_on, args=(i, think_s, stop)) for i in range(clients)]
        for each in others:
            each.start()
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
            port = connection.getsockname()[1]
            slow = []
            for _ in range(5):
                time.sleep(0.4)  # others are served meanwhile
                asked_ns = time.time_ns()
                connection.sendall(command("EVAL", BUSY, 0, SLOW_US))
                assert b"at last" in connection.recv(4096)
                slow.append((asked_ns, time.time_ns()))
        time.sleep(0.3)  # what came last is answered
        stop.set()
        for each in others:
            each.join()
    rows = tcpsight.open(tmp_path / "redis.pcap").findings.to_arrow().to_pylist()
    stalls = [row for row in rows if row["kind"] in ("stall", "pile_up")]
    # Only five are told one by one, and a machine that is busy with other things stalls on its own: those are not ours.
    ours = [row for row in stalls if any(in_the_midst(row, *each) for each in slow)]
    named = [json.loads(row["evidence"]).get("blocker") for row in ours]
    ports = [each["client_port"] for each in named if each]
    assert ports.count(port) >= 2, stalls
    assert len(ports) - ports.count(port) <= 1, stalls
