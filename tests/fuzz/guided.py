"""Feeds targets with atheris: libFuzzer, guided by which lines of Python ran.

Kernels are not seen by it: what they do shows in the Python around them. Half of the mutations are libFuzzer's own,
half those of the target. libFuzzer feeds one target in a process and never returns, so there is a process for each.

``python -m tests.fuzz.guided --seconds 60 [--targets text,where] [--store]``
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from random import Random

LONGEST_BYTES = 20_000
PATIENCE_SECONDS = 30


def feed(name: str, arguments: list[str]) -> None:
    """Feed one target until libFuzzer ends this process."""
    import atheris

    with atheris.instrument_imports(include=["tcpsight"]):
        from tests.fuzz import seeds
        from tests.fuzz.harness import TARGETS
    target = TARGETS[name]
    pool = list(target.seeds(seeds.made()))

    def once(data: bytes) -> None:
        target.run(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        # libFuzzer begins with next to nothing; so a part of the inputs are made from the seeds.
        begin = data if len(data) > 20 and chance.random() < 0.8 else chance.choice(pool)
        return target.mutate(begin, chance, pool)[:most]

    atheris.Setup([sys.argv[0], *arguments], once, custom_mutator=mutate)
    atheris.Fuzz()


def _reason(printed: str) -> str:
    """Find what an execution died of in what libFuzzer and Python printed."""
    raised = re.findall(r"^ === Uncaught Python exception: ===\n(.+)", printed, re.MULTILINE)
    ended = re.findall(r"^==\d+== ?ERROR: (.+)", printed, re.MULTILINE)
    return str((raised or ended or printed.splitlines()[-1:] or ["status without a word"])[-1])


def main() -> int:
    """Feed every target in its turn; give 1 if something was found."""
    from tests.fuzz.run import FOUND, Totals, arguments, finish

    options = arguments()
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed (pip install 'tcpsight[fuzz]'): nothing was guided", file=sys.stderr)
        return 0
    names, totals = options.targets.split(","), Totals()
    FOUND.mkdir(parents=True, exist_ok=True)
    for name in names:
        limits = [f"-max_total_time={max(int(options.seconds / len(names)), 1)}", f"-timeout={PATIENCE_SECONDS}"]
        places = [f"-artifact_prefix={FOUND}/{name}-", f"-max_len={LONGEST_BYTES}", "-print_final_stats=1"]
        begin = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.guided", "--feed", name, *limits, *places]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        said = dict(re.findall(r"stat::(\w+): +(\d+)", done.stderr))
        crashes = {f"{name} {_reason(done.stderr + done.stdout)}": 1} if done.returncode else {}
        row = [int(said.get("number_of_executed_units", 0)), time.monotonic() - begin, 0.0, 0.0]
        totals.add({"targets": {name: row}, "crashes": crashes, "peak_mb": int(said.get("peak_rss_mb", 0))})
    return finish(totals, "guided", is_stored=options.store)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--feed"]:
        feed(sys.argv[2], sys.argv[3:])
    sys.exit(main())
