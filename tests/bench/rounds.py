"""Baseline and daemon in turn, so that what else the machine does meets both alike."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Rounds:
    """One value a round; the two of a round were measured one right after the other."""

    daemon: tuple[float, ...]
    baseline: tuple[float, ...] = ()

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of each round: the machine may have changed from one to the next."""
        return tuple(ours / bare for ours, bare in zip(self.daemon, self.baseline, strict=False))


async def interleaved(rounds: int, daemon: Measure, baseline: Measure) -> Rounds:
    """After one round of each that does not count."""
    measured = [(await baseline(), await daemon()) for _ in range(rounds + 1)][1:]
    return Rounds(tuple(ours for _, ours in measured), tuple(bare for bare, _ in measured))


def median(values: tuple[float, ...]) -> float:
    return statistics.median(values)
