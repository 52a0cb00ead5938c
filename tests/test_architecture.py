"""The layout of DESIGN as rules: what may import what, and how large a room may grow.

import-linter checks the Python modules (its contracts are in ``pyproject.toml``). It cannot see inside
``.pyx`` and ``.pxd`` files, so their imports are read here.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "tcpsight"
ROOMS = ("capture", "decode", "connections", "requests", "network", "model", "output")
EDGES = ("capture", "output")
# Not a room: its kernel is what is measured, and needs clock and sockets.
MEASURING = "transports"
BANNED_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "base", "managers", "manager", "misc"}

KERNEL_SOURCES = sorted([*PACKAGE.glob("**/*.pyx"), *PACKAGE.glob("**/*.pxd")])
PYTHON_SOURCES = sorted(PACKAGE.glob("**/*.py"))

# Nothing between the edges may reach a file, a socket, a clock or a thread, in C either.
IMPURE_C = re.compile(
    r"^(libc\.(stdio|time|signal)|posix\.(?!stdlib)|openmp|cython\.parallel|cpython\.(datetime|time|pythread))"
)
IMPURE_HEADERS = re.compile(r"^<?(stdio|time|unistd|fcntl|pthread|signal|poll|sys/(?!mman)|netinet/|net/|linux/)")

MOST_LINES = 400
MOST_FUNCTION_LINES = 60
# What the head of a longer file says: why it is.
REASON = re.compile(r"Longer than other files: \w.*\.$|^# Generated from ", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str | None:
    first = path.relative_to(PACKAGE).parts[0]
    return first if first in ROOMS else None


def imports_of(text: str) -> list[str]:
    """Give the modules that Cython source imports or cimports."""
    joined = re.sub(r"\\\n", " ", text)
    named = re.findall(r"^\s*from\s+([\w.]+)\s+c?import\b", joined, re.MULTILINE)
    for line in re.findall(r"^\s*c?import\s+([^#\n(]+)", joined, re.MULTILINE):
        named += [part.split(" as ")[0].strip() for part in line.split(",")]
    return named


def headers_of(text: str) -> list[str]:
    """Give the C headers that Cython source or its verbatim C includes."""
    quoted = re.findall(r"cdef extern from\s+[\"']([^\"']+)[\"']", text)
    return quoted + re.findall(r"^\s*#\s*include\s+[<\"]([^>\"]+)", text, re.MULTILINE)


def is_allowed(module: str, room: str | None) -> bool:
    shared = ("tcpsight.tables", "tcpsight._door", "posix.stdlib")
    if re.match(r"^(cython|libc|cpython)(\.|$)", module) or module in shared:
        return True
    if module.startswith("posix."):
        return room in EDGES
    if room is None:
        # A loop fused over several rooms belongs to the pipeline, which may know them all.
        return module.startswith("tcpsight.")
    return module.startswith(f"tcpsight.{room}.")


@pytest.mark.parametrize("path", KERNEL_SOURCES, ids=name_of)
def test_kernels_import_the_tables_and_their_own_room_only(path):
    room = room_of(path)
    strangers = [module for module in imports_of(path.read_text()) if not is_allowed(module, room)]
    assert not strangers


def is_pure(path: Path) -> bool:
    return room_of(path) not in EDGES and not name_of(path).startswith(f"{MEASURING}/")


@pytest.mark.parametrize("path", [path for path in KERNEL_SOURCES if is_pure(path)], ids=name_of)
def test_pure_kernels_touch_no_file_socket_clock_or_thread(path):
    text = path.read_text()
    assert not [module for module in imports_of(text) if IMPURE_C.match(module)]
    assert not [header for header in headers_of(text) if IMPURE_HEADERS.match(header)]


@pytest.mark.parametrize("path", [path for path in KERNEL_SOURCES if path.suffix == ".pyx"], ids=name_of)
def test_every_kernel_has_a_type_stub(path):
    assert path.with_suffix(".pyi").is_file()


def test_import_contracts_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    run = subprocess.run([*command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_import_the_library_that_is_made_of_them(room):
    for path in PACKAGE.glob(f"{room}/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert "tcpsight" not in [alias.name for alias in node.names], path
            if isinstance(node, ast.ImportFrom) and node.module == "tcpsight":
                assert {alias.name for alias in node.names} <= {"errors", "tables"}, path


def test_rooms_say_what_they_take_and_give():
    for room in ROOMS:
        first = PACKAGE / room / "__init__.py"
        if not first.is_file():
            continue
        line = (ast.get_docstring(ast.parse(first.read_text())) or "").split("\n")[0]
        assert re.match(r"Takes .*gives .*\.$", line), f"{room}: {line!r}"


def test_no_folder_or_file_is_a_drawer_for_everything():
    named = [path for folder in (PACKAGE, ROOT / "tests") for path in folder.glob("**/*") if path.suffix != ".pyc"]
    assert not [path for path in named if path.stem.lstrip("_") in BANNED_NAMES]


def test_files_stay_small_enough_to_read_or_say_at_their_head_why_not():
    folders = (SOURCE, *(ROOT / name for name in ("tests", "tools", "benchmarks", "examples")))
    kinds = {".py", ".pyx", ".pxd", ".js", ".css", ".c", ".h"}
    paths = [path for folder in folders for path in folder.glob("**/*") if path.suffix in kinds]
    # What Cython writes stands beside what it was made of.
    written = [path for path in paths if not (path.suffix == ".c" and path.with_suffix(".pyx").is_file())]
    lines = {path: path.read_bytes().count(b"\n") for path in written}
    heads = {path: "\n".join(path.read_text("utf-8").split("\n")[:30]) for path in written}
    long = [path.name for path, count in lines.items() if count > MOST_LINES and not REASON.search(heads[path])]
    assert not long, f"more than {MOST_LINES} lines: split the file, or say at its head why it is longer"
    told = [path for path, head in heads.items() if "\nLonger than other files: " in head]
    assert not [path.name for path in told if lines[path] <= MOST_LINES], "no longer long: it need not say why"


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Give functions, and how many lines each has: a docstring, which says what one may ask, is not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = _lines(node.body[0]) if ast.get_docstring(node) is not None else 0
            yield node.name, _lines(node) - told


def indented_functions(path: Path, head: re.Pattern[str]) -> Iterator[tuple[str, int]]:
    """Give the same of a file in which a function ends where the next line is indented as it is, by its first line."""
    lines = path.read_text().split("\n")
    for first, line in enumerate(lines):
        if not head.match(line):
            continue
        indent = len(line) - len(line.lstrip())
        # The end of what is asked for may stand where the function does; a blank line says nothing.
        body = next((i for i in range(first, len(lines)) if re.search(r"[:{]\s*(#.*)?$", lines[i])), first) + 1
        ends = (i for i in range(body, len(lines)) if lines[i].strip() and not lines[i].startswith(" " * (indent + 1)))
        end = next(ends, len(lines))
        while end > body and not lines[end - 1].strip():
            end -= 1
        text = "\n".join(lines[first:end])
        about = re.search(r'"""[\s\S]*?"""', text)
        yield line.strip(), text.count("\n") + 1 - (about[0].count("\n") + 1 if about else 0)


KERNEL_FUNCTION = re.compile(r"\s*(cdef|cpdef|def)\b[^=:]*\(")
SCRIPT_FUNCTION = re.compile(r"\s*(async )?(function \w+|(?!(if|for|while|switch|catch)\b)\w+)\([^;]*\) \{$")


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    if path.suffix == ".py":
        return python_functions(path)
    return indented_functions(path, SCRIPT_FUNCTION if path.suffix == ".js" else KERNEL_FUNCTION)


def test_functions_stay_short_enough_to_read():
    others = [path for folder in ("tests", "tools", "benchmarks") for path in (ROOT / folder).glob("**/*.py")]
    sources = [*PYTHON_SOURCES, *KERNEL_SOURCES, *PACKAGE.glob("**/*.js"), *others]
    found = [(path, name, lines) for path in sources for name, lines in functions_of(path)]
    assert len(found) > 5000
    for suffix, least in ((".pyx", 200), (".pxd", 200), (".js", 100)):
        assert sum(path.suffix == suffix for path, _, _ in found) > least, suffix
    long = [f"{path.name}: {name} ({lines})" for path, name, lines in found if lines > MOST_FUNCTION_LINES]
    assert not long, f"more than {MOST_FUNCTION_LINES} lines"


def test_architecture_tells_every_module_and_nothing_that_is_not_there():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for path in PACKAGE.iterdir():
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py"):
            assert f"`{path.name}{'/' if path.is_dir() else ''}`" in text or f"{path.name}: " in text, path.name
    told = re.findall(r"`([\w./-]+(?:\.(?:py|pyx|pxd|md|toml)|/))(?:: (\w+))?`", text)
    assert len(told) > 80
    for name, function in told:
        places = [PACKAGE / name, ROOT / name, *([] if "/" in name.rstrip("/") else PACKAGE.glob(f"**/{name}"))]
        there = [path for path in places if path.exists()]
        assert there, name
        assert not function or any(re.search(rf"\b{function}\b", path.read_text("utf-8")) for path in there), function


@pytest.mark.parametrize("folder", ["unit", "reference"])
def test_tests_mirror_the_source(folder):
    """Every room with a kernel has unit tests and a slow twin, in a folder or files of its name."""
    place = ROOT / "tests" / folder
    kernels = {room for path in KERNEL_SOURCES if path.suffix == ".pyx" and (room := room_of(path))}
    files = [path.relative_to(place).as_posix() for path in place.glob("**/*.py")]
    assert not kernels - {word for file in files for word in re.split(r"[/_.]", file)}


def sleeps_of(path: Path) -> list[int]:
    """Give the lines that sleep outside a loop that waits for an event, without a comment that says what for."""
    text = path.read_text()
    if "sleep" not in text and "wait_for_timeout" not in text:
        return []  # parsing all tests takes seconds
    lines = ["", *text.splitlines()]
    found = []

    def walk(node: ast.AST, *, is_waiting: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                name = getattr(child.func, "attr", getattr(child.func, "id", ""))
                has_reason = "  # " in lines[child.lineno] or lines[child.lineno - 1].lstrip().startswith("#")
                if name in ("sleep", "wait_for_timeout") and not is_waiting and not has_reason:
                    found.append(child.lineno)
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            walk(child, is_waiting=not is_function and (is_waiting or isinstance(child, ast.While)))

    walk(ast.parse(text), is_waiting=False)
    return found


def test_no_test_sleeps_but_in_a_loop_that_waits_for_an_event_or_with_a_reason():
    places = {path.relative_to(ROOT): sleeps_of(path) for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert not {str(path): lines for path, lines in places.items() if lines}
