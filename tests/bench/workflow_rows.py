"""Rows of workflows: how fast steps, and workflows of one step, are made durable.

Beside what the machine does at the same time stand figures of others, taken on another machine of this
class: they tell a factor, not a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tests.bench.figures import BARE_CALL, Figure, Goal, compared
from tests.bench.project import AT_A_TIME, FEW_ONE_STEP, ONE_STEP
from tests.bench.rounds import Measure, interleaved, median
from tests.bench.sizes import OUTSTANDING
from tests.bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Reference:
    """One-step workflows a second of another engine, as measured elsewhere."""

    name: str
    per_second: float


REFERENCES = (
    Reference("DBOS, SQLite, called", 197),
    Reference("DBOS, SQLite, queued", 120),
    Reference("Restate, 32 at a time", 248),
)
LEAST_FACTOR = 5.0


async def workflow_steps(stage: Stage) -> list[Figure]:
    count = stage.sizes.steps
    steps = partial(stage.client.call, "steps", count)
    rounds = await interleaved(stage.sizes.rounds, steps, stage.bare_calls(1))
    return [compared(f"steps of one workflow ({count:,})", "steps/s", rounds, f"{BARE_CALL}, 1 outstanding")]


async def workflow_runs(stage: Stage) -> list[Figure]:
    figures: list[Figure] = []
    for name, load in _loads(stage).items():
        rounds = await interleaved(stage.sizes.rounds, load, stage.bare_calls())
        figures.append(compared(f"workflows of a step, {name}", "workflows/s", rounds, BARE_CALL))
        figures.extend(_beside(rounds.daemon))
    return figures


def _loads(stage: Stage) -> Mapping[str, Measure]:
    """Restate was called by 32 at a time, each of which began the next when it had its result."""
    call, seconds = stage.client.call, stage.sizes.window_seconds
    return {
        f"a batch, {AT_A_TIME} at a time": partial(call, "drained", FEW_ONE_STEP, stage.sizes.workflows),
        "a batch": partial(call, "drained", ONE_STEP, stage.sizes.workflows),
        f"Python client, {AT_A_TIME} outstanding": partial(call, "followed_runs", ONE_STEP, AT_A_TIME, seconds),
        f"Python client, {OUTSTANDING} outstanding": partial(call, "followed_runs", ONE_STEP, OUTSTANDING, seconds),
        f"Python client, {AT_A_TIME} waiting": partial(call, "waited_runs", ONE_STEP, AT_A_TIME, seconds),
        f"{OUTSTANDING} single calls outstanding": partial(call, "runs", ONE_STEP, OUTSTANDING, seconds),
    }


def _beside(values: tuple[float, ...]) -> Iterator[Figure]:
    best = max(reference.per_second for reference in REFERENCES)
    for reference in REFERENCES:
        factors = _factors(values, reference)
        factor = median(factors)
        goal = Goal(f"ratio ≥ {LEAST_FACTOR:g}", factor >= LEAST_FACTOR) if reference.per_second == best else None
        spread = (min(factors), factor, max(factors))
        name = f"{reference.name} (reference)"
        yield Figure("…", median(values), "workflows/s", name, reference.per_second, spread, goal)


def _factors(values: Iterable[float], reference: Reference) -> tuple[float, ...]:
    return tuple(value / reference.per_second for value in values)
