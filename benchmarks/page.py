"""How large a page of many requests is, how long it takes to make, and to open in Chromium.

``python -m benchmarks.page 10000000`` makes the page of a simulated day of ten services with so many requests, which
no capture has to hold: requests are handed to the report as if they came from one. ``--capture FILE`` takes a capture.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcpsight.analysis import Analysis
from tcpsight.report_page import PageCollection
from tcpsight.tables import Connections, Findings, Network, Requests

START_NS = 1_700_000_000 * 10**9
DAY_NS = 86_400 * 10**9
SERVICES = 10
BLOCK = 200_000
LATE = 1e-4
"""Share of requests that take a thousand times as long."""


def empty_capture() -> io.BytesIO:
    """Give a capture of one segment, so that there is a run."""
    from tests.support.pcap import pcap_bytes
    from tests.support.traffic import Talk, capture

    return io.BytesIO(pcap_bytes(capture([Talk([])])[:1], nanoseconds=True))


def requests_between(first_ns: int, last_ns: int, count: int, random: np.random.Generator) -> Requests:
    """Simulate requests: response times are log-normal, a few are outliers; service i has a share of 1 / (i + 1)."""
    made = Requests.allocate(count)
    shares = 1 / (1 + np.arange(SERVICES))
    service = random.choice(SERVICES, count, p=shares / shares.sum())
    times = random.lognormal(13 + service, 1.2, count) * np.where(random.random(count) < LATE, 1000, 1)
    made.arrival_ns[:] = np.sort(random.integers(first_ns, last_ns, count))
    made.response_time_ns[:] = np.minimum(times, 60e9).astype(np.int64)
    made.completion_ns[:] = made.arrival_ns + made.response_time_ns
    made.connection_id[:] = random.integers(1, 10**9, count)
    made.client_address[:, 10:12] = made.server_address[:, 10:12] = 255
    made.client_address[:, 12:] = random.integers(0, 256, (count, 4))
    made.client_port[:] = random.integers(32768, 60999, count)
    made.server_address[:, 12:] = (10, 0, 0, 1)
    made.server_port[:] = 8000 + service
    made.ip_version[:] = 4
    made.request_bytes[:], made.response_bytes[:] = 300, 4000
    return made


def connections_of(count: int, random: np.random.Generator) -> tuple[Connections, Network]:
    """Simulate connections with segments sent again."""
    made = Connections.allocate(count)
    made.connection_id[:] = 1 + np.arange(count)
    made.client_address[:, 10:12] = made.server_address[:, 10:12] = 255
    made.client_address[:, 12:] = random.integers(0, 256, (count, 4))
    made.server_address[:, 12:] = (10, 0, 0, 1)
    made.server_port[:], made.client_port[:], made.ip_version[:] = 8000, random.integers(32768, 60999, count), 4
    made.start_ns[:] = START_NS + random.integers(0, DAY_NS // 2, count)
    made.duration_ns[:] = random.integers(1, DAY_NS // 2, count)
    made.end_ns[:] = made.start_ns + made.duration_ns
    made.client_bytes[:], made.server_bytes[:] = random.integers(0, 10**12, (2, count))
    made.server_retransmissions[:] = random.integers(0, 1000, count)
    network = Network.allocate(2 * count)
    network.connection_id[:] = np.repeat(made.connection_id, 2)
    return made, network


def page_of(count: int) -> str:
    """Make the page of so many requests."""
    random = np.random.default_rng(1)
    collection = PageCollection(SERVICES)
    with Analysis([empty_capture()]).run(Findings) as run:
        for batch in run:
            collection.feed(batch)
        connections, network = connections_of(min(count // 10, 50_000), random)
        collection.feed(batch._replace(connections=connections, network=network))
        blocks = np.linspace(0, DAY_NS - 10**11, max(count // BLOCK, 1) + 1).astype(np.int64) + START_NS
        for first_ns, last_ns in pairwise(blocks.tolist()):
            requests = requests_between(first_ns, last_ns, count // (len(blocks) - 1), random)
            collection.feed(
                batch._replace(
                    requests=requests, residents=requests, served=requests, connections=Connections(), network=Network()
                )
            )
        run.pipeline.first_ns, run.pipeline.last_ns = START_NS, START_NS + DAY_NS
        return collection.page(collection.report(run), None, (0.5, 0.95, 0.99))


WATCH = """
new MutationObserver((changes, watch) => {
  if (document.querySelector("#completions .main-svg") === null) return;
  watch.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.firstPlotMs = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""
"""Notes, by the page's own clock, when the first plot has been put on the screen."""


FILTERS = ("10.", "10.0.0.7 or retransmissions > 3", "state = closed", "lasted > 5 s", "")

TYPE = """
async texts => {
  const box = document.querySelector("#connections input"), took = [];
  for (const text of texts) {
    const began = performance.now();
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
    took.push(performance.now() - began);
  }
  return Math.max(...took);
}
"""
"""Types filters of the table of connections; gives how long the slowest took until it was on the screen."""


class Opening(NamedTuple):
    """What it took to open a page: seconds until its words, and its first plot, are on the screen; and afterwards."""

    words_s: float
    plot_s: float
    filter_s: float
    heap_bytes: float


def opening(path: Path) -> Opening:
    """Open a page in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("#completions .main-svg")
        while (plot_ms := page.evaluate("window.firstPlotMs")) is None:
            page.wait_for_timeout(20)
        words_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        heap_bytes = page.evaluate("performance.memory.usedJSHeapSize")
        filter_ms = page.evaluate(TYPE, list(FILTERS))
        browser.close()
    return Opening(words_ms / 1e3, plot_ms / 1e3, filter_ms / 1e3, heap_bytes)


def page_of_capture(capture: Path) -> str:
    """Make the page of a capture."""
    analysis = Analysis([capture])
    with analysis.run(Findings) as run:
        collection = PageCollection()
        for batch in run:
            collection.feed(batch)
        return collection.page(collection.report(run), Analysis([capture]), (0.5, 0.95, 0.99))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requests", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--capture", type=Path, help="make the page of this capture instead")
    parser.add_argument("--keep", type=Path, help="where to leave the page")
    parser.add_argument("--openings", type=int, default=3, help="how often to open it; the fastest counts")
    options = parser.parse_args()
    began = time.process_time()
    page = page_of_capture(options.capture) if options.capture else page_of(options.requests)
    made_s = time.process_time() - began
    with tempfile.TemporaryDirectory() as folder:
        path = (options.keep or Path(folder, "page.html")).resolve()
        path.write_text(page, encoding="utf-8")
        opened = min((opening(path) for _ in range(options.openings)), key=lambda each: each.plot_s)
        size = path.stat().st_size
    what = options.capture.name if options.capture else f"{options.requests:,} requests"
    print(f"{what}: {size / 1e6:.2f} MB, made in {made_s:.1f} s of CPU time")
    print(f"opened: words after {opened.words_s:.2f} s, first plot after {opened.plot_s:.2f} s", end="; ")
    print(f"{opened.heap_bytes / 1e6:.0f} MB of heap; the slowest filter after {1000 * opened.filter_s:.0f} ms")


if __name__ == "__main__":
    main()
