"""Five runs of a real server of known σ, κ and λ: does the truth lie inside the intervals of ``tcpsight usl``?

``python -m tests.truth.usl_server.record --store`` (``make usl-server``; needs root) starts the server in a network
namespace of its own, loads it over loopback with more and more clients, records headers with tcpdump, and asks. The
results of all runs are written beside this file, whatever they are. A sixth, shorter run leaves its capture, too.

With ``--example`` it records ``examples/scaling.pcap.zst`` instead: a server whose peak lies within the load, and what
it was.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

import tcpsight
from tests.conftest import ROOT
from tests.support.closed_system import STEPS, Law
from tests.truth.usl_server.load import Load

HERE = Path(__file__).parent
STORED, CAPTURE = HERE / "results.json", HERE / "short-run.pcap.zst"
EXAMPLE = ROOT / "examples" / "scaling.pcap.zst"

LAW = Law(sigma=0.05, kappa=0.002, throughput_of_one=50.0)
"""Of one request at a time 20 ms, at the peak near 22 requests 370 answers a second: little for any machine."""
PAUSE_S = 0.005
REQUESTS, SEEDS = 10_000, (1, 2, 3, 4, 5)
SHORT, SHORT_SEED = 4000, 6
EXAMPLE_LAW, EXAMPLE_STEPS = Law(sigma=0.05, kappa=0.004, throughput_of_one=50.0), (*STEPS, 48)
"""At the peak, near 15 requests, 300 answers a second."""
EXAMPLE_REQUESTS, EXAMPLE_SEED = 6000, 7
PORT = 7300
NAMES = ("sigma", "kappa", "lambda")


@contextmanager
def running(*command: str, until: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program once it has written a word to its standard error; end it after the block."""
    with log.open("wb") as stream, log.with_suffix(".out").open("wb") as out:
        process = subprocess.Popen(command, stderr=stream, stdout=out, cwd=ROOT)
    try:
        for _ in range(300):
            if until in log.read_text():
                break
            time.sleep(0.1)  # before it is looked for again
        else:
            raise RuntimeError(f"{command[0]} did not start: {log.read_text()}")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}: {log.read_text()[-2000:]}")


@contextmanager
def ahead_of_others() -> Iterator[None]:
    """Let what is started here run before all else: a busy machine would delay timers by milliseconds."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def run(seed: int, requests: int, folder: Path, law: Law = LAW, steps: tuple[int, ...] = STEPS) -> dict[str, Any]:
    """Do one run; leave ``cut.pcap``, give what was found beside what server and load counted."""
    raw = folder / "raw.pcap"
    serve: tuple[str, ...] = (sys.executable, "-m", "tests.truth.usl_server.server", f"--port={PORT}", f"--seed={seed}")
    serve += (f"--sigma={law.sigma}", f"--kappa={law.kappa}", f"--one={law.throughput_of_one}")
    dump: tuple[str, ...] = ("tcpdump", "-i", "lo", "-n", "-s", "160", "-U", "-Z", "root", "-B", "16384")
    dump += ("--immediate-mode", "--time-stamp-precision=nano", "-w", str(raw), f"tcp port {PORT}")
    with (
        ahead_of_others(),
        running(*serve, until="listening", log=folder / "server.log"),
        running(*dump, until="listening on", log=folder / "tcpdump.log"),
    ):
        told = Load(PORT, seed + 1000, PAUSE_S).run(steps, requests)
        time.sleep(0.5)  # what the kernel holds is given in blocks
    if "\n0 packets dropped by kernel" not in (folder / "tcpdump.log").read_text():
        raise RuntimeError("the kernel dropped frames")
    cut = (sys.executable, str(ROOT / "examples" / "record" / "cut_payload.py"), str(raw), str(folder / "cut.pcap"))
    subprocess.run(cut, check=True, stderr=subprocess.DEVNULL)
    counters = json.loads((folder / "server.out").read_text())
    return (
        {"seed": seed, "requests": requests}
        | found(folder / "cut.pcap", law)
        | {"server": counters, "load": [each.told() for each in told]}
    )


def found(capture: Path, law: Law) -> dict[str, Any]:
    """Ask of a capture; give the intervals, and whether they hold the truth."""
    told = tcpsight.open(capture).scalability()
    inside = {
        name: told[name] is not None and told[name]["low"] <= truth <= told[name]["high"]
        for name, truth in zip(NAMES, law.values, strict=True)
    }
    names = (*NAMES, "peak_concurrency_interval", "peak_throughput_interval")
    return {name: told[name] for name in names} | {"refusal": told["refusal"], "inside": inside}


def kept(capture: Path, name: Path) -> None:
    """Keep a capture that was cut."""
    name.write_bytes(zstandard.ZstdCompressor(level=22).compress(capture.read_bytes()))


def record_example() -> None:
    """Record the capture that README and docs show, and what the server was."""
    with tempfile.TemporaryDirectory() as made:
        row = run(EXAMPLE_SEED, EXAMPLE_REQUESTS, Path(made), EXAMPLE_LAW, EXAMPLE_STEPS)
        kept(Path(made) / "cut.pcap", EXAMPLE)
    told = {"truth": dict(zip(NAMES, EXAMPLE_LAW.values, strict=True)), "pause_s": PAUSE_S} | row
    EXAMPLE.with_name("scaling.truth.json").write_text(json.dumps(told) + "\n")


def main() -> None:
    """Do all runs and print, or store, what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name} and {CAPTURE.name}")
    parser.add_argument("--example", action="store_true", help=f"record {EXAMPLE.name} instead")
    chosen = parser.parse_args()
    if os.environ.get("USL_SERVER_NAMESPACE") != "own":
        os.environ["USL_SERVER_NAMESPACE"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-m", "tests.truth.usl_server.record", *sys.argv[1:]])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if chosen.example:
        record_example()
        return
    rows = []
    for seed, requests in (*((seed, REQUESTS) for seed in SEEDS), (SHORT_SEED, SHORT)):
        with tempfile.TemporaryDirectory() as made:
            rows.append(run(seed, requests, Path(made)))
            print(json.dumps(rows[-1]), flush=True)
            if seed == SHORT_SEED and chosen.store:
                kept(Path(made) / "cut.pcap", CAPTURE)
    if chosen.store:
        values = dict(zip(NAMES, LAW.values, strict=True))
        told = {"truth": values, "pause_s": PAUSE_S, "clients": STEPS, "runs": rows}
        STORED.write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
