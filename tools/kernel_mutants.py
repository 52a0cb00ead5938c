"""Break kernels on purpose, one change at a time, and see whether the tests of their room notice.

No tool mutates Cython. This one draws changes of operators, constants and statements in the ``.pyx`` and ``.pxd`` of
a room with a seed, compiles a copy in which all of them lie ready behind a number, and runs the room's tests once
for each, until one fails: ``make kernel-mutants MUTANTS_ARGS='network --count 60 --store'``. What survives is a
missing test or means the same; ``tests/mutation/survivors.toml`` says which. Left out are declarations, constants
where they are named, and statements that share their line with another.
"""

from __future__ import annotations

import argparse
import io
import json
import keyword
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from breaking import ROOT, STORED, copied

TESTS = {
    "requests": "unit/requests reference/test_requests.py",
    "connections": (
        "unit/connections reference/test_connections.py reference/test_streams.py reference/test_searching.py"
    ),
    "network": "unit/network reference/network reference/test_policing.py",
}
OPERATORS = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
    "+": ["-"], "-": ["+"], "*": ["+"], "//": ["*"], "/": ["*"], "%": ["//"],
    "+=": ["-=", "="], "-=": ["+=", "="], "|=": ["&=", "="], "&=": ["|=", "="],
    "&": ["|"], "|": ["&"], "^": ["|"], "<<": [">>"], ">>": ["<<"],
    "and": ["or"], "or": ["and"], "not": [""], "break": ["continue"], "continue": ["break"],
    "True": ["False"], "False": ["True"],
}  # fmt: skip
SPOKEN = (tokenize.OP, tokenize.NAME, tokenize.NUMBER, tokenize.STRING, tokenize.ERRORTOKEN)
LIMIT = re.compile(r"(?!U?INT)[A-Z][A-Z0-9_]*_(NS|US|MS|BYTES|MAX|MIN|LIMIT|SEGMENTS|SHIFT)$")
SWITCH = '''cdef extern from *:
    """
    #ifndef TCPSIGHT_MUTANT
    #define TCPSIGHT_MUTANT
    #include <stdlib.h>
    static int tcpsight_mutant = -1;
    __attribute__((constructor)) static void tcpsight_choose(void) {
        const char *number = getenv("TCPSIGHT_MUTANT");
        if (number) tcpsight_mutant = atoi(number);
    }
    #endif
    """
    int tcpsight_mutant
'''
# A mutant that never ends is noticed, too; one that wants all memory must not get it.
PROCESSOR_SECONDS = 120
MEMORY_BYTES = 6 << 30


@dataclass(frozen=True)
class Statement:
    """One statement of a kernel: where its text begins and ends, and what of it a mutant may exchange."""

    path: Path
    line: int
    begin: int
    end: int
    part: tuple[int, int] | None  # an expression that is chosen in place; none: the whole statement is
    tokens: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Mutant:
    """One change of a statement: the piece of its text from begin to end is another."""

    statement: Statement
    begin: int
    end: int
    other: str


def statements(path: Path) -> Iterator[Statement]:
    """Give the statements of a kernel in which something can be changed."""
    text = path.read_text(encoding="utf-8")
    starts = [0]
    held: list[tuple[int, int, str]] = []
    for each in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(each))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE and held:
            part = exchanged(held)
            if part != (0, 0):
                line = text.count("\n", 0, held[0][0]) + 1
                yield Statement(path, line, held[0][0], held[-1][1], part, tuple(held))
            held = []
        elif token.type in SPOKEN and token.string.strip():
            begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
            held.append((begin, end, token.string))


def exchanged(held: list[tuple[int, int, str]]) -> tuple[int, int] | None:
    """Tell which expression of a statement is chosen in place; (0, 0) where it cannot be, none where all of it is."""
    words = [text for _, _, text in held]
    first = words[0]
    if first in ("if", "elif", "while"):
        return (held[0][1], held[-1][0]) if words[-1] == ":" else (0, 0)
    if first == "for" and "range" in words and words[-2:] == [")", ":"]:
        opened = words.index("range") + 1
        return (held[opened][1], held[-2][0]) if "," not in words[opened:] else (0, 0)
    if first == "cdef" and words.count("=") == 1 and words[-1] != ":" and "," not in words[: words.index("=")]:
        return held[words.index("=")][1], held[-1][1]
    is_simple = first in ("return", "break", "continue") or (first.isidentifier() and not keyword.iskeyword(first))
    is_work = len(words) == 1 or any(text.endswith("=") or text == "(" for text in words) or first == "return"
    is_declared = first in ("cdef", "ctypedef", "cimport", "enum") or (first.isupper() and words[1:2] == ["="])
    return None if is_simple and is_work and not is_declared and words[-1] not in (":", ",") else (0, 0)


def changes(statement: Statement) -> Iterator[Mutant]:
    """Give what the statement could be instead, each with one change."""
    last, is_cast = "(", False
    for begin, end, text in statement.tokens:
        starts_value = last in tuple("([{,=:<>+-*/%&|^") or keyword.iskeyword(last)
        others = OPERATORS.get(text, [])
        if text == "<" and starts_value:
            is_cast, others = True, []
        elif text == ">" and is_cast:
            is_cast, others = False, []
        elif is_cast or (text in ("&", "*", "-") and starts_value):
            others = []
        elif text.isdigit():
            others = [str(int(text) + 1), str(int(text) - 1)] if int(text) else ["1"]
        elif LIMIT.match(text):
            others = [f"(2 * {text})"]
        inside = statement.part is None or statement.part[0] <= begin < statement.part[1]
        yield from (Mutant(statement, begin, end, other) for other in others if inside)
        last = text
    if statement.part is None and statement.tokens[0][2] not in ("return", "break", "continue"):
        yield Mutant(statement, statement.begin, statement.end, "pass")


def with_all(path: Path, numbered: dict[int, Mutant]) -> tuple[str, list[tuple[int, int, list[int]]]]:
    """Give the text of a kernel with mutants behind their numbers, and between which lines which of them lie."""
    text = path.read_text(encoding="utf-8")
    here: dict[Statement, list[int]] = {}
    for number, mutant in numbered.items():
        if mutant.statement.path == path:
            here.setdefault(mutant.statement, []).append(number)
    out, done, places = "", 0, []
    for statement in sorted(here, key=lambda one: one.begin):
        begin, end = statement.part or (statement.begin, statement.end)
        out += text[done:begin]
        first = out.count("\n") + 1
        indent = " " * (statement.begin - text.rfind("\n", 0, statement.begin) - 1)
        original = text[begin:end]
        for number in here[statement]:
            mutant = numbered[number]
            other = text[begin : mutant.begin] + mutant.other + text[mutant.end : end]
            is_that = f"tcpsight_mutant == {number}"
            out += (
                f" (({other}) if {is_that} else ("
                if statement.part
                else f"if {is_that}:\n{indent}    {other}\n{indent}el"
            )
        out += original + "))" * len(here[statement]) if statement.part else f"se:\n{indent}    {original}"
        places.append((first, out.count("\n") + 1, here[statement]))
        done = end
    out += text[done:]
    # On the line of another one, so that lines keep their numbers.
    return re.sub(
        r"^(?=(from|cimport|cdef) )", "from tcpsight._mutant cimport tcpsight_mutant; ", out, count=1, flags=re.M
    ), places


def compiled(tree: Path, room: str, drawn: list[Mutant]) -> dict[int, Mutant]:
    """Compile the copy with all mutants that compile; give them by number."""
    numbered = dict(enumerate(drawn))
    folder = ROOT / "src" / "tcpsight" / room
    while True:
        places = {}
        for path in sorted(folder.glob("*.p[yx][xd]")):
            text, places[path.name] = with_all(path, numbered)
            (tree / "src" / "tcpsight" / room / path.name).write_text(text, encoding="utf-8")
        environment = os.environ | {"TCPSIGHT_ROOMS": room}
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", "1"]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return numbered
        said = done.stdout + done.stderr
        wrong = set()
        for name, line in re.findall(rf"{room}/(\w+\.p[yx][xd]):(\d+):\d+:", said):
            for first, last, numbers in places[name]:
                wrong |= set(numbers) if first <= int(line) <= last else set()
        if not wrong:
            sys.exit(f"the kernels do not compile:\n{said[-3000:]}")
        numbered = {number: mutant for number, mutant in numbered.items() if number not in wrong}


def judge(tree: Path, room: str, number: int) -> str:
    """Run the room's tests with one mutant in a process of its own; tell what noticed it, empty if nothing did."""
    told = tree / "told.txt"
    child = os.fork()
    if not child:
        os.environ["TCPSIGHT_MUTANT"] = str(number)
        os.chdir(tree)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
        for output in (1, 2):
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), output)
        import pytest

        tests = [f"tests/{place}" for place in TESTS[room].split()]
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", *tests]))
    _, status = os.waitpid(child, 0)
    if status == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", told.read_text(encoding="utf-8"), re.MULTILINE)
    return failed.group(1) if failed else f"signal {status & 127}" if status & 127 else f"status {status >> 8}"


def copy(room: str) -> Path:
    """Copy what is compiled and tested, to be broken there."""
    tree = copied(room)
    shutil.copy(ROOT / "pyproject.toml", tree)
    (tree / "setup.py").write_text(
        (ROOT / "setup.py").read_text(encoding="utf-8").replace('"-O3"', '"-O1"'), encoding="utf-8"
    )
    (tree / "src" / "tcpsight" / "_mutant.pxd").write_text(SWITCH, encoding="utf-8")
    return tree


def one_line(text: str) -> str:
    """Give a text without its line breaks."""
    return " ".join(text.split())


def main() -> None:
    """Draw, break, test, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("room", choices=TESTS)
    parser.add_argument("--count", type=int, default=60, help="how many mutants that compile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only of files whose name contains this")
    parser.add_argument("--store", action="store_true", help="write tests/mutation/kernels-ROOM.json")
    options = parser.parse_args()
    paths = [
        path
        for path in sorted((ROOT / "src" / "tcpsight" / options.room).glob("*.p[yx][xd]"))
        if options.only in path.name
    ]
    possible = [mutant for path in paths for statement in statements(path) for mutant in changes(statement)]
    random.Random(options.seed).shuffle(possible)
    tree = copy(options.room)
    os.environ["PYTHONPATH"] = str(tree / "src")
    sys.path[:0] = [str(tree / "src"), str(tree)]
    drawn = compiled(tree, options.room, possible[: options.count * 5 // 4])
    from hypothesis import Phase, settings

    phases = (Phase.explicit, Phase.generate)  # that it fails is enough; nobody wants the smallest example
    settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    if judge(tree, options.room, -1):
        sys.exit(f"the tests fail as they are:\n{(tree / 'told.txt').read_text(encoding='utf-8')[-3000:]}")
    results: list[dict[str, object]] = []
    for number in sorted(drawn)[: options.count]:
        mutant = drawn[number]
        text = mutant.statement.path.read_text(encoding="utf-8")[mutant.statement.begin : mutant.statement.end]
        begin, end = mutant.begin - mutant.statement.begin, mutant.end - mutant.statement.begin
        where = {"path": str(mutant.statement.path.relative_to(ROOT)), "line": mutant.statement.line}
        what = {"before": one_line(text), "after": one_line(text[:begin] + mutant.other + text[end:])}
        results.append(where | what | {"killed_by": judge(tree, options.room, number)})
        print(json.dumps(results[-1]), flush=True)
    if options.store:
        told = {"seed": options.seed, "possible": len(possible), "mutants": results}
        (STORED / f"kernels-{options.room}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
