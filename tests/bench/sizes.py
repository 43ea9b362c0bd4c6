"""How much is measured. Every figure is the median of the rounds, after a warm-up."""

from __future__ import annotations

from dataclasses import dataclass

OUTSTANDING = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """`window_seconds` is how long one round of a closed loop lasts."""

    rounds: int
    window_seconds: float
    calls: int
    events: int
    lines: int


DEFAULT = Sizes(rounds=3, window_seconds=1.2, calls=400, events=100_000, lines=1_000_000)
QUICK = Sizes(rounds=3, window_seconds=0.3, calls=60, events=10_000, lines=150_000)
