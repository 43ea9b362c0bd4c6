"""What a row of the table says."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.rounds import Rounds, median

BARE_CALL = "no-op call"


@dataclass(frozen=True, slots=True)
class Goal:
    """`is_a_must`: not met, something is wrong rather than slow."""

    text: str
    is_met: bool
    is_a_must: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians; `ratios` are the daemon's to the baseline's, the least, the median and the most."""

    name: str
    value: float
    unit: str
    baseline_name: str = ""
    baseline: float | None = None
    ratios: tuple[float, float, float] | None = None
    goal: Goal | None = None


def compared(name: str, unit: str, rounds: Rounds, baseline_name: str, least_ratio: float | None = None) -> Figure:
    """`least_ratio` is the goal, if there is one."""
    ratios = rounds.ratios
    ratio = median(ratios)
    goal = None if least_ratio is None else Goal(f"ratio ≥ {least_ratio:g}", ratio >= least_ratio)
    spread = (min(ratios), ratio, max(ratios))
    return Figure(name, median(rounds.daemon), unit, baseline_name, median(rounds.baseline), spread, goal)


def at_least(text: str, value: float, bound: float) -> Goal:
    return Goal(f"≥ {text}", value >= bound)


def at_most(text: str, value: float, bound: float) -> Goal:
    return Goal(f"≤ {text}", value <= bound)
