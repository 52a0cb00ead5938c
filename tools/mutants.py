"""Break the Python of the rooms on purpose with mutmut, a seeded sample of its changes, and see what the tests notice.

``make mutants MUTANTS_ARGS='--only model/stalls --each 40'``; with ``--store`` the answer becomes
``tests/mutation/python.json``. The tree is copied first (``build/mutants/python``), as mutmut leaves its files
beside what it mutates. Texts are not mutated: most of them are read by people, and no rule protects their words.
mutmut itself mutates nothing outside functions, nor functions with decorators.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests" / "mutation" / "python.json"
ROOMS = ("requests", "connections", "network", "model")
# What decides numbers: of these more is drawn.
DECIDING = """
    requests/pairing connections/tracking connections/streams
    network/accounting network/bucket_fit network/delivery network/policing network/queueing network/token_bucket
    model/connection_rules model/distribution model/findings model/identifying model/intervals model/lasting
    model/levelling model/occupancy model/queueing model/scalability model/scalability_curve model/service_rules
    model/services model/shares model/shifting model/slowdowns model/stalls
""".split()
ANY_STATUS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", -11: "killed", -9: "killed"}


def without_texts() -> None:
    """Take from mutmut its changes of texts; there is no option for it."""
    from mutmut.mutation import file_mutation, mutators

    file_mutation.mutation_operators = [
        (kind, change) for kind, change in mutators.mutation_operators if change is not mutators.operator_string
    ]


def drawn(only: str, each: int, seed: int) -> tuple[list[str], dict[str, int]]:
    """Draw mutants of every module, three times as many of what decides; tell how many there were."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    names, possible = [], {}
    for room in ROOMS:
        for path in sorted((ROOT / "src" / "tcpsight" / room).glob("*.py")):
            module = f"{room}/{path.stem}"
            if only not in module:
                continue
            found = list(mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names)
            possible[module] = len(found)
            count = min(len(found), each if module in DECIDING else max(1, each // 3))
            chosen = random.Random(f"{seed} {module}").sample(found, count)
            names += [f"tcpsight.{room}.{path.stem}.{name}" for name in chosen]
    return names, possible


def copy() -> Path:
    """Copy what is mutated and tested."""
    tree = ROOT / "build" / "mutants" / "python"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in ("src", "tests", "examples"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    if (ROOT.parent / "shared").is_dir():
        (tree / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def changed(tree: Path, name: str) -> dict[str, str]:
    """Give the lines before and after."""
    shown = subprocess.run(
        [sys.executable, str(Path(__file__)), "--mutmut", "show", name],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    before, after = (
        " ".join(" ".join(line[1:] for line in shown if line[:1] == mark and line[:3] != mark * 3).split())
        for mark in "-+"
    )
    return {"before": before, "after": after}


def results(tree: Path, names: list[str]) -> list[dict[str, str]]:
    """Give what became of the mutants that were run; of those that survived, the change."""
    codes: dict[str, int | None] = {}
    for path in (tree / "mutants" / "src").rglob("*.meta"):
        codes |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    told = []
    for name in names:
        code = codes.get(name)
        if code is not None:
            outcome = ANY_STATUS.get(code, "timeout")
            told.append(
                {"name": name, "outcome": outcome} | ({} if outcome in ("killed", "timeout") else changed(tree, name))
            )
    return told


def main() -> None:
    """Draw, break, test, tell."""
    if sys.argv[1:2] == ["--mutmut"]:
        from mutmut.__main__ import cli

        without_texts()
        cli(sys.argv[2:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only of modules whose name contains this, such as model/stalls")
    parser.add_argument("--each", type=int, default=21, help="how many of each module that decides; a third of others")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--children", type=int, default=1, help="how many at once")
    parser.add_argument("--store", action="store_true", help="write tests/mutation/python.json")
    options = parser.parse_args()
    without_texts()
    names, possible = drawn(options.only, options.each, options.seed)
    tree = copy()
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    command = [sys.executable, str(Path(__file__)), "--mutmut", "run", "--max-children", str(options.children), *names]
    subprocess.run(command, cwd=tree, env=environment, check=False)
    told = results(tree, names)
    for one in told:
        if one["outcome"] not in ("killed", "timeout"):
            print(json.dumps(one, ensure_ascii=False))
    print(f"{len(told)} of {len(names)} mutants were tried")
    if options.store:
        text = json.dumps({"seed": options.seed, "possible": possible, "mutants": told}, indent=1, ensure_ascii=False)
        STORED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
