"""Feeds one target with atheris: libFuzzer, guided by which lines of Python ran.

``python -m tests.fuzz.guided TARGET [-max_total_time=60 and what else libFuzzer takes]``. Kernels are not seen by it:
what they do shows in the Python around them. Mutations are those of the target as often as libFuzzer's own.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["tcpsight"]):
    from tests.fuzz import seeds
    from tests.fuzz.harness import TARGETS


def main() -> None:
    name, *arguments = sys.argv[1:]
    target = TARGETS[name]
    pool = list(target.seeds(seeds.made()))

    def feed(data: bytes) -> None:
        target.run(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        # libFuzzer begins with next to nothing; so a part of the inputs are made from the seeds.
        begin = data if len(data) > 20 and chance.random() < 0.8 else chance.choice(pool)
        return target.mutate(begin, chance, pool)[:most]

    atheris.Setup([sys.argv[0], "-max_len=20000", *arguments], feed, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
