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
            for _ in range(5):
                time.sleep(0.4)
                connection.sendall(command("EVAL", BUSY, 0, SLOW_US))
                assert b"at last" in connection.recv(4096)
        time.sleep(0.3)
        stop.set()
        for each in others:
            each.join()
    rows = tcpsight.open(tmp_path / "redis.pcap").findings.to_arrow().to_pylist()
    told = [json.loads(row["evidence"]) for row in rows if row["kind"] in ("stall", "pile_up")]
    stalls = [each for each in told if each.get("duration_ns", 0) >= 1000 * SLOW_US]
    # Only five are told one by one, and a machine that is busy with other things stalls on its own.
    named = [each["blocker"]["client_port"] for each in stalls if each["blocker"]]
    assert sum(each == port for each in named) >= 3
    assert sum(each != port for each in named) <= 1
