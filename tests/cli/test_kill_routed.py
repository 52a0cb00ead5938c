"""``tcpsight kill -i`` on a router: connections of other machines, each in a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.running import COMMAND
from tests.conftest import require_program
from tests.support.live_network import require_live_network
from tests.support.packet_sockets import wait_until_it_captures

pytestmark = pytest.mark.live

# Both print a line for every connection when it ends, by its port.
SERVER = """
import os, socket, threading
def serve(sock, port):
    try:
        while data := sock.recv(65536):
            sock.sendall(data[:100])
    except OSError:
        os.write(1, b"ended %d\\n" % port)
def listen(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    os.write(1, b"ready %d\\n" % port)
    threading.Thread(target=serve, args=(listener.accept()[0], port)).start()
for port in range(7000, 7008):
    threading.Thread(target=listen, args=(port,)).start()
"""
CLIENT = """
import os, socket, threading, time
def talk(port):
    sock = socket.create_connection(("fd00:2::2" if port % 2 else "10.2.0.2", port))
    try:
        while True:
            sock.sendall(b"q" * 20_000)
            sock.recv(65536)
            if port < 7004:
                break
            time.sleep(0.003)
        os.write(1, b"idle %d\\n" % port)
        while sock.recv(1):
            pass
    except OSError:
        os.write(1, b"ended %d\\n" % port)
for port in range(7000, 7008):
    threading.Thread(target=talk, args=(port,)).start()
time.sleep(3600)
"""


class Network:
    """Client, router and server, each in its own namespace; a cable from each to the router."""

    def __init__(self, stack: ExitStack) -> None:
        self.names = {role: f"tcpsight-{role}-{os.getpid()}" for role in ("client", "router", "server")}
        self._stack = stack
        for name in self.names.values():
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
            run("ip", "netns", "add", name)
        for number, role in ((1, "client"), (2, "server")):
            self._cable(number, role)
        self("router", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def _cable(self, number: int, role: str) -> None:
        near, far = self.names["router"], self.names[role]
        run("ip", "link", "add", f"r{number}", "netns", near, "type", "veth", "peer", "name", "eth0", "netns", far)
        for place, device, host in (("router", f"r{number}", 1), (role, "eth0", 2)):
            self(place, "ip", "addr", "add", f"10.{number}.0.{host}/24", "dev", device)
            self(place, "ip", "addr", "add", f"fd00:{number}::{host}/64", "dev", device, "nodad")
            self(place, "ip", "link", "set", "dev", device, "up")
        self(role, "ip", "route", "add", "default", "via", f"10.{number}.0.1")
        self(role, "ip", "route", "add", "default", "via", f"fd00:{number}::1")

    def __call__(self, role: str, *command: str) -> None:
        run("ip", "netns", "exec", self.names[role], *command)

    def start(self, role: str, script: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", self.names[role], sys.executable, "-c", script]
        process = self._stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self._stack.callback(process.kill)
        return process

    def kill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ip", "netns", "exec", self.names["router"], *COMMAND, "kill", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def lines(process: subprocess.Popen[str], word: str, number: int) -> set[int]:
    """Read lines until so many begin with a word; give their ports."""
    assert process.stdout is not None
    found: set[int] = set()
    while len(found) < number:
        first, port, *_ = process.stdout.readline().split()
        if first == word:
            found.add(int(port))
    return found


@pytest.fixture
def network() -> Iterator[Network]:
    require_live_network()
    require_program("ip")
    with ExitStack() as stack:
        yield Network(stack)


def test_connections_of_others_end_on_both_sides_and_only_the_named_ones(network):
    """Even ports are IPv4, odd ones IPv6; those below 7004 are idle, the others busy."""
    server = network.start("server", SERVER)
    lines(server, "ready", 8)
    # Capturing begins before the connections do, so that idle ones are seen.
    arguments = ["-i", "r1", "--listen", "4s", "--where", "server_port in (7000, 7001, 7004, 7005)", "--yes"]
    command = ["ip", "netns", "exec", network.names["router"], *COMMAND, "kill", *arguments, "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as killing:
        wait_until_it_captures(killing)
        client = network.start("client", CLIENT)
        assert lines(client, "idle", 4) == {7000, 7001, 7002, 7003}
        _, told = killing.communicate(timeout=60)
    assert killing.returncode == 0, told
    assert told.count(" ended: ") == 4, told
    expected = {7000, 7001, 7004, 7005}
    assert lines(client, "ended", 4) == expected
    assert lines(server, "ended", 4) == expected
    # The others live: they are there, and they end when they are named.
    done = network.kill("-i", "r1", "--listen", "1s", "--where", "server_port > 0", "--format", "csv", "--yes")
    assert done.returncode == 0, done.stderr
    assert lines(client, "ended", 2) == {7006, 7007}
    assert lines(server, "ended", 2) == {7006, 7007}
