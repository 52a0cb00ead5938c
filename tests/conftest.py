"""What every test may ask for: programs, captures recorded elsewhere, and which build it runs on."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import tcpsight
from tests.support.thorough import up_to

# A gate must fail for what was changed, not by chance: the same examples every time. Others are looked for with
# `make properties`, which asks for the profile `search`. Nothing is remembered, so that each run is like the first.
settings.register_profile("gate", derandomize=True, database=None, deadline=None, max_examples=up_to(100))
settings.register_profile("search", database=None, deadline=None, print_blob=True)
settings.load_profile("gate")

# A shell starts background jobs deaf to SIGINT, and their children inherit that; tests of Ctrl-C must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
# Captures and genuine outputs that are not part of the repository lie beside it.
BESIDE = ROOT.parent / "shared"
# In CI a missing program is a hole in the installation, not a reason to skip.
PEERS_ARE_REQUIRED = os.environ.get("TCPSIGHT_REQUIRE_PEERS", "0") not in ("", "0")
IS_CHECKED = os.environ.get("TCPSIGHT_CHECKED", "0") not in ("", "0")

# Folders whose tests open no interface, start no program and wait for nothing.
COMPUTING = {("golden",), ("properties",), ("reference",)} | {
    ("unit", room)
    for room in ("connections", "conversations", "decode", "flows", "model", "network", "requests", "where")
}


# Files that take long, the longest first: they begin first, so that none is left to one worker while others are idle.
# `make test PYTEST_ARGS='-n auto --durations=300'` tells which.
FIRST = (
    "browser/test_bad_input.py",
    "cli/test_remote.py",
    "browser/test_report_page.py",
    "cli/test_cluster.py",
    "truth/test_watching_live.py",
    "ui/test_web.py",
    "reference/test_connections.py",
    "truth/test_policing.py",
    "ui/test_streams_screen.py",
    "cli/test_plots_of_tables.py",
    "cli/test_ingest.py",
    "ui/test_screen.py",
    "cli/test_capture.py",
    "peers/test_streams_against_peers.py",
    "compat/test_streams.py",
    "unit/test_clustered.py",
    "peers/test_agreement_with_peers.py",
    "compat/test_usl.py",
    "reference/network/test_accounting.py",
    "compat/test_yconalyzer.py",
    "truth/test_live_capture.py",
    "browser/test_live_page.py",
    "truth/test_tls.py",
)


def require_program(name: str) -> str:
    """Give the path of a program, or skip the test and name it.

    Servers live in ``/usr/sbin`` and PostgreSQL's in a folder of its version, which are not on everyone's path.
    """
    places = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    places += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is not None:
        return found
    message = f"needs the program {name}, which is not installed"
    if PEERS_ARE_REQUIRED:
        pytest.fail(message)
    pytest.skip(message)


def require_folder(path: Path) -> Path:
    """Give a folder, or skip the test and name it."""
    if not path.is_dir():
        pytest.skip(f"needs the folder {path}, which is not there")
    return path


@pytest.fixture(name="require_program", scope="session")
def _require_program() -> Callable[[str], str]:
    return require_program


@pytest.fixture
def network() -> Iterator[None]:
    """Run a test in a network of its own, or skip it."""
    from tests.support.live_network import own_network, require_live_network

    require_live_network()
    require_program("ip")
    with own_network():
        yield


@pytest.fixture(name="network_with_ipv6")
def _network_with_ipv6(network: None) -> None:
    from tests.support.local_connections import network_with_ipv6

    network_with_ipv6()


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    return require_folder(BESIDE / "fixtures")


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    return require_folder(BESIDE / "corpus")


@pytest.fixture(scope="session")
def examples_dir() -> Path:
    return ROOT / "examples"


def pytest_collection_finish() -> None:
    """Set aside what was imported and collected: none of it is garbage that must be looked for again."""
    gc.collect()
    gc.freeze()


def pytest_configure() -> None:
    """Refuse to test one build in the belief that it is the other."""
    folder = Path(tcpsight.__file__).resolve().parent
    is_found = "checked" in folder.parts
    if is_found != IS_CHECKED:
        built, command = ("checked", "make checked") if IS_CHECKED else ("fast", "make test")
        raise pytest.UsageError(f"asked for the {built} build but imported {folder}; run '{command}'")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Run half as many workers again as there are processors: many tests wait for a server or a clock."""
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors + (processors + 1) // 2


@pytest.hookimpl(trylast=True)  # after they were brought into a random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that share clocks, interfaces and processors with the whole machine lose a race twice; order the files.

    What merely computes must give the same every time, and is run once. Each run again is listed in the summary (R).
    """
    places = {ROOT / "tests" / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        folders = item.path.relative_to(ROOT / "tests").parts
        if folders[:1] not in COMPUTING and folders[:2] not in COMPUTING:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


def pytest_report_header() -> str:
    kind = "checked" if IS_CHECKED else "fast"
    return f"tcpsight {tcpsight.__version__}, {kind} kernels, from {Path(tcpsight.__file__).parent}"
