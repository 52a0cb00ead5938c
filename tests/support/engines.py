"""Engines for tests: one that does everything at once in this process, and remembers as badly as is wanted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tcpsight import resuming


class AtOnce:
    """Does what it is asked for when it is asked.

    Parameters
    ----------
    places : int
        As an engine has.
    seed : int, optional
        With it, at random, every state is lost before a step; or the step is done twice, and the state of the first
        time kept.
    """

    def __init__(self, places: int = 3, seed: int | None = None) -> None:
        self.places = places
        self.steps: list[str] = []
        self._random = None if seed is None else random.Random(seed)

    def submit(self, function: Callable[..., Any], *arguments: Any, place: int | None = None) -> Any:
        self.steps.append(function.__name__)
        if self._random is not None:
            fate = self._random.random()
            if fate < 0.1:
                resuming._KEPT.clear()
            elif fate < 0.2:
                function(*(each.result if isinstance(each, _Promise) else each for each in arguments))
        return _Promise(function(*(each.result if isinstance(each, _Promise) else each for each in arguments)))

    def result(self, promised: Any) -> Any:
        return promised.result

    def give_up(self, promised: list[Any]) -> None:
        pass

    def everywhere(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)


class _Promise:
    def __init__(self, result: Any) -> None:
        self.result = result
