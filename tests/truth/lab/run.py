"""One run of a scenario: ends, path, captures and tracepoints, from set-up to the folder that keeps them.

A run is a process of its own (`record` forks it), which is why nothing here restores namespaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.truth.lab import kernel
from tests.truth.lab.applications import FLOOD_NETWORK, Log, listen, run_client, run_server
from tests.truth.lab.path import Forwarder
from tests.truth.lab.rewriting import read, write
from tests.truth.lab.scenario import Scenario

SETTLE_SECONDS = 0.02
"""How long a capture gets to write what it saw."""


class Raw(NamedTuple):
    """What a run leaves: everything that truth is made of."""

    log: np.ndarray[Any, Any]
    client: list[dict[str, Any]]
    server: list[dict[str, Any]]
    events: list[kernel.Event]
    counters: dict[str, dict[str, int]]
    machine: dict[str, Any]


def addresses(scenario: Scenario, slot: int) -> tuple[str, str]:
    """Give the client's and the server's address; no two runs at the same time share a slot (1 to 250)."""
    if scenario.hosts.is_ipv6:
        return f"fd77::{slot:x}:1", f"fd77::{slot:x}:2"
    return f"10.77.{slot}.1", f"10.77.{slot}.2"


def run(scenario: Scenario, slot: int, folder: Path, program: Path) -> Raw:
    """Run a scenario in this process, captures into `folder`."""
    kernel.own_mounts()
    hosts = scenario.hosts
    ends = tuple(kernel.Namespace(has_offload=hosts.has_offload) for _ in range(2))
    mine = addresses(scenario, slot)
    for end, (own, peer) in zip(ends, (mine, mine[::-1]), strict=True):
        address = f"{own} peer {peer}" + (" nodad" if hosts.is_ipv6 else "")
        end.configure([f"address add {address} dev {kernel.DEVICE}"], hosts.of_kernel())
    for end, (own, peer) in zip(ends, (mine, mine[::-1]), strict=True):
        end.wait_for_route(own, peer)
    if scenario.client.flood:
        ends[1].configure([f"route add {FLOOD_NETWORK} dev {kernel.DEVICE}"], {})
    before = cpu_times()
    with kernel.tracing() as instance:
        forwarder = Forwarder(program, (ends[0].device, ends[1].device), scenario.link, folder)
        captures = [start_capture(ends[v == "server"], folder / f"{v}.pcap", scenario.snaplen)
                    for v in scenario.vantages if v != "middle"]  # fmt: skip
        with applications(scenario, ends, mine[1]) as (client_side, server_side):
            client_side.wait_ready(scenario.seconds + 5)
            settle(scenario)
            # What happens from here on, such as kernels closing what is still open, is no part of the run.
            end_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
            client, server = client_side.finish(5), server_side.finish(5)
            time.sleep(SETTLE_SECONDS)  # what the kernel holds is given in blocks
            dropped = [stop_capture(process) for process in captures]
            log = until(forwarder.finish(), end_ns)
            found = [e for e in kernel.events(instance, set(mine)) if e.time_ns <= end_ns]
            lost = kernel.overruns(instance)
    for v in {"client", "server"} & set(scenario.vantages):
        cut(folder / f"{v}.pcap", end_ns)
    counters = {"client": ends[0].counters(), "server": ends[1].counters()}
    machine = busy(before, cpu_times()) | {"capture_drops": sum(dropped), "lost_tracepoints": lost}
    return Raw(log, client, server, found, counters, machine)


def until(log: np.ndarray[Any, Any], end_ns: int) -> np.ndarray[Any, Any]:
    """Give the log as it would be if the run had ended at `end_ns`."""
    kept = log[log["in_ns"] <= end_ns].copy()
    kept["out_ns"][kept["out_ns"] > end_ns] = 0
    return kept


def cut(path: Path, end_ns: int) -> None:
    """Take from a capture what came after `end_ns`."""
    header, frames = read(path)
    write(path, header, [f for f in frames if f.time_ns <= end_ns])


def settle(scenario: Scenario) -> None:
    """Wait until what is on the way has arrived, FINs and their ACKs too."""
    up, down = scenario.link.up, scenario.link.down
    trip = up.delay_ns + up.jitter_ns + up.reorder_ns + down.delay_ns + down.jitter_ns + down.reorder_ns
    time.sleep(0.1 + 2.5 * trip / 1e9)  # a path of fixed delays: nothing tells that it is empty


# --- captures


def start_capture(end: kernel.Namespace, path: Path, snaplen: int) -> subprocess.Popen[bytes]:
    """Start tcpdump in a namespace; returns when it captures."""
    end.enter()
    process = subprocess.Popen(
        ["tcpdump", "-n", "-i", kernel.DEVICE, "-s", str(snaplen), "--immediate-mode", "-U", "-Z", "root", "-B", "4096",
         "--time-stamp-precision=nano", "-w", str(path), "tcp"],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: kernel.die_with_parent(signal.SIGKILL),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if b"listening on" in line:
            return process
    raise RuntimeError(f"tcpdump did not start: status {process.wait()}")


def stop_capture(process: subprocess.Popen[bytes]) -> int:
    """End tcpdump; give how many frames it says were dropped."""
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=10)
    return next((int(line.split()[0]) for line in text.decode().splitlines() if "dropped by kernel" in line), 0)


# --- applications: a process each, so that neither delays the other


@contextlib.contextmanager
def applications(scenario: Scenario, ends: tuple[kernel.Namespace, ...], address: str) -> Iterator[tuple[Child, Child]]:
    """Run client and server; the client is ready when it is done."""

    def serve(go: int, out: int) -> None:
        ends[1].enter()
        log = Log()
        listener = listen(scenario.server, address, scenario.hosts.congestion)
        threading.Thread(target=run_server, args=(log, scenario.server, listener), daemon=True).start()
        os.write(out, b"\n")
        os.read(go, 1)
        tell(out, log)

    def ask(go: int, out: int) -> None:
        ends[0].enter()
        log = Log()
        how = (log, scenario.client, address, scenario.hosts.congestion)
        worker = threading.Thread(target=run_client, args=how, daemon=True)
        worker.start()
        worker.join(scenario.seconds)
        os.write(out, b"\n")
        os.read(go, 1)
        tell(out, log)

    children = []
    try:
        children.append(Child(serve))
        children[0].wait_ready(5)
        children.append(Child(ask))
        yield children[1], children[0]
    finally:
        for child in children:
            child.end()


def tell(out: int, log: Log) -> None:
    """Write the log, and live on: at the end of a process the kernel closes its sockets."""
    data = json.dumps(log.give()).encode()
    while data:
        data = data[os.write(out, data) :]
    os.close(out)
    while True:
        signal.pause()


class Child:
    """A forked process that runs one function and writes JSON."""

    def __init__(self, function: Callable[[int, int], None]) -> None:
        go, self.go = os.pipe()
        self.out, out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                kernel.die_with_parent(signal.SIGKILL)
                os.close(self.go)
                function(go, out)
                status = 0
            finally:
                os._exit(status)
        os.close(go)
        os.close(out)

    def wait_ready(self, seconds: float) -> None:
        """Wait for the newline that says so."""
        ready = select.select([self.out], [], [], seconds)[0]
        if not ready or os.read(self.out, 1) != b"\n":
            raise RuntimeError("an application did not come so far")

    def finish(self, seconds: float) -> Any:
        """Ask for its log, and give it."""
        os.write(self.go, b"\n")
        data, deadline = b"", time.monotonic() + seconds
        while True:
            if not select.select([self.out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError("an application did not end")
            more = os.read(self.out, 1 << 20)
            if not more:
                return json.loads(data)
            data += more

    def end(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.go)
        os.close(self.out)


# --- the machine


def cpu_times() -> list[int]:
    """Give the jiffies of all processors: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def busy(before: list[int], after: list[int]) -> dict[str, Any]:
    """Say how busy the machine was in between."""
    spent = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(spent) or 1
    return {
        "busy_fraction": round(1 - (spent[3] + spent[4]) / total, 3),
        "stolen_fraction": round(spent[7] / total, 4),
        "load": os.getloadavg()[0],
    }
