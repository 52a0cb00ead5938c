"""Break the Python of the rooms on purpose with mutmut, a seeded sample of its changes, and see what the tests notice.

``make mutants MUTANTS_ARGS='model/stalls --each 40'``; with ``--store`` the answer becomes
``tests/mutation/python.json``. The tree is copied first (``build/mutants/python``), as mutmut leaves its files
beside what it mutates. Texts are not mutated: most of them are read by people, and no rule protects their words.
mutmut itself mutates nothing outside functions, nor functions with decorators.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from breaking import ROOT, STORED, copied

RESULTS = STORED / "python.json"
# What decides numbers, and the tests that protect it: few, so that a mutant takes a second or so.
TESTS = {
    "requests/pairing": "unit/requests",
    "network/queueing": "unit/network/test_queues.py unit/network/test_shapes.py",
    "network/token_bucket": "unit/network/test_queues.py reference/test_policing.py",
    "network/delivery": "unit/network/test_shapes.py",
    "network/bucket_fit": "unit/network/test_bucket_fit.py",
    "network/accounting": "unit/network/test_time_account.py",
    "connections/tracking": "unit/connections/test_crowds.py unit/connections/test_time.py",
    "connections/streams": "unit/test_streams.py unit/test_stream_bytes.py",
    "model/intervals": "unit/model/test_intervals.py",
    "model/occupancy": "unit/model/test_occupancy.py unit/model/test_intervals.py",
    "model/distribution": "unit/model/test_distribution.py",
    "model/identifying": "unit/model/test_identifying.py unit/model/test_scalability.py",
    "model/levelling": "unit/model/test_identifying.py unit/model/test_scalability.py",
    "model/scalability": "unit/model/test_scalability.py",
    "model/scalability_curve": "unit/model/test_scalability_curve.py unit/model/test_scalability.py",
    "model/queueing": "unit/model/test_scalability.py",
    "model/shares": "unit/model/test_shares.py",
    "model/stalls": "unit/model/test_stalls.py",
    "model/lasting": "unit/model/test_lasting.py",
    "model/slowdowns": "unit/model/test_slowdowns.py",
    "model/services": "unit/model/test_services.py",
    "model/connection_rules": "unit/model/test_findings.py",
    "model/service_rules": "unit/model/test_findings.py",
    "model/findings": "unit/model/test_findings.py",
}
NOTICED = ("killed", "timeout")
ANY_STATUS = {0: "survived", 1: "killed", 3: "killed", 5: "no tests", 33: "no tests", -11: "killed", -9: "killed"}


def without_texts() -> None:
    """Take from mutmut its changes of texts; there is no option for it."""
    from mutmut.mutation import file_mutation, mutators

    kept = [(kind, change) for kind, change in mutators.mutation_operators if change is not mutators.operator_string]
    vars(file_mutation)["mutation_operators"] = kept


def drawn(module: str, each: int, seed: int) -> tuple[list[str], int]:
    """Draw mutants of a module; tell how many there were."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    path = ROOT / "src" / "tcpsight" / f"{module}.py"
    found = list(mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names)
    chosen = random.Random(f"{seed} {module}").sample(found, min(each, len(found)))
    return [f"tcpsight.{module.replace('/', '.')}.{name}" for name in chosen], len(found)


def copy(module: str) -> Path:
    """Copy what is mutated and tested; say so to mutmut."""
    tree = copied("python")
    tests = [f"tests/{place}" for place in TESTS[module].split()]
    settings = f"""
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/tcpsight/{module}.py"]
also_copy = ["examples"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {json.dumps(tests)}
timeout_constant = 60.0
use_git_change_detection = false
"""
    (tree / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text(encoding="utf-8") + settings, "utf-8")
    return tree


def changed(tree: Path, name: str) -> dict[str, str]:
    """Give the lines before and after."""
    command = [sys.executable, str(Path(__file__)), "--mutmut", "show", name]
    shown = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout.splitlines()
    sides = {"-": "before", "+": "after"}
    lines: dict[str, str] = {"before": "", "after": ""}
    for line in shown:
        if line[:1] in sides and line[:3] not in ("---", "+++"):
            lines[sides[line[0]]] += " " + line[1:]
    return {side: " ".join(text.split()) for side, text in lines.items()}


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
            change = {} if outcome in NOTICED else changed(tree, name)
            told.append({"name": name, "outcome": outcome} | change)
    return told


def main() -> None:
    """Draw, break, test, tell."""
    if sys.argv[1:2] == ["--mutmut"]:
        from mutmut.__main__ import cli

        without_texts()
        cli(sys.argv[2:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "modules", nargs="*", default=list(TESTS), help="such as model/stalls; all, unless some are named"
    )
    parser.add_argument("--each", type=int, default=40, help="how many of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--children", type=int, default=1, help="how many at once")
    parser.add_argument("--store", action="store_true", help="write what became of them to tests/mutation/python.json")
    options = parser.parse_args()
    without_texts()
    for module in options.modules:
        names, possible = drawn(module, options.each, options.seed)
        tree = copy(module)
        environment = os.environ | {"PYTHONPATH": str(tree / "src")}
        command = [sys.executable, str(Path(__file__)), "--mutmut", "run", "--max-children", str(options.children)]
        subprocess.run([*command, *names], cwd=tree, env=environment, check=False, stdout=subprocess.DEVNULL)
        told = results(tree, names)
        for one in told:
            if one["outcome"] not in NOTICED:
                print(json.dumps(one, ensure_ascii=False))
        survived = [one for one in told if one["outcome"] not in NOTICED]
        noticed = len(told) - len(survived)
        print(f"{module}: {noticed} of {len(told)} noticed", flush=True)
        if options.store and told:
            stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            counts = {"seed": options.seed, "possible": possible, "tried": len(told), "noticed": noticed}
            stored[module] = counts | {"tests": TESTS[module], "survived": survived}
            RESULTS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
