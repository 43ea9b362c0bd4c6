"""How much is measured. Every figure is the median of the rounds, after a warm-up."""

from __future__ import annotations

from dataclasses import dataclass

OUTSTANDING = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """`window_seconds` is how long one round of a closed loop lasts.

    `pending` and `live` runs are what a daemon that was killed finds. `steps` are of one workflow,
    `workflows` those of a batch, and `waiting` of them wait at once. So many `schedules` are due at once.
    """

    rounds: int
    window_seconds: float
    calls: int
    events: int
    lines: int
    pending: int
    live: int
    steps: int
    workflows: int
    waiting: int
    schedules: int


DEFAULT = Sizes(
    rounds=3,
    window_seconds=1.2,
    calls=400,
    events=100_000,
    lines=1_000_000,
    pending=100_000,
    live=1000,
    steps=1000,
    workflows=1000,
    waiting=10_000,
    schedules=10_000,
)
QUICK = Sizes(
    rounds=3,
    window_seconds=0.3,
    calls=60,
    events=10_000,
    lines=150_000,
    pending=2000,
    live=20,
    steps=200,
    workflows=200,
    waiting=300,
    schedules=300,
)
