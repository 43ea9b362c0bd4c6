"""The rows of the table, each a load and what it is held against."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from tests.bench.client import DAEMON, NOOP
from tests.bench.figures import BARE_CALL, Figure, at_least, at_most, compared
from tests.bench.project import NOTHING, TRUE
from tests.bench.rounds import Rounds, interleaved
from tests.bench.sizes import OUTSTANDING
from tests.bench.stage import Stage
from tests.bench.workflow_rows import workflow_runs, workflow_steps

CREATE_RATIO = 0.4
LINES_PER_SECOND = 300_000
IDLE_MIB = 80
BARE_SPAWN = "spawn loop"

Row = Callable[[Stage], Awaitable[list[Figure]]]


async def inprocess(stage: Stage) -> list[Figure]:
    runs = partial(stage.client.call, "runs", NOTHING, OUTSTANDING, stage.sizes.window_seconds)
    rounds = await interleaved(stage.sizes.rounds, runs, stage.bare_calls())
    return [compared("in-process runs, create to end", "runs/s", rounds, BARE_CALL)]


async def process(stage: Stage) -> list[Figure]:
    seconds = stage.sizes.window_seconds
    runs = partial(stage.client.call, "runs", TRUE, OUTSTANDING, seconds)
    spawns = partial(stage.spawner.call, "spawns", OUTSTANDING, seconds)
    rounds = await interleaved(stage.sizes.rounds, runs, spawns)
    return [compared("process runs (/bin/true), create to end", "runs/s", rounds, BARE_SPAWN)]


async def events(stage: Stage) -> list[Figure]:
    """A replay is of the run whose events were just followed live."""
    live: list[float] = []

    async def replay() -> float:
        rate, run_id = await stage.client.call("live", stage.sizes.events)
        live.append(rate)
        return float(await stage.client.call("replay", DAEMON, run_id))

    rounds = await interleaved(stage.sizes.rounds, replay, partial(stage.client.call, "replay", NOOP, ""))
    live_rounds = Rounds(tuple(live[1:]), rounds.baseline)
    return [
        compared("events to one subscriber, replay", "events/s", rounds, "no-op stream"),
        compared("events to one subscriber, live", "events/s", live_rounds, "no-op stream"),
    ]


async def lines(stage: Stage) -> list[Figure]:
    count = stage.sizes.lines
    bare = partial(stage.spawner.call, "lines", count)
    rounds = await interleaved(stage.sizes.rounds, partial(stage.client.call, "lines", count), bare)
    figure = compared(f"log lines of one process ({count:,})", "lines/s", rounds, "pipe, read only")
    return [replace(figure, goal=at_least("300 k/s", figure.value, LINES_PER_SECOND))]


async def creates_busy(stage: Stage) -> list[Figure]:
    creates = partial(stage.client.call, "busy_creates", OUTSTANDING, stage.sizes.window_seconds)
    rounds = await interleaved(stage.sizes.rounds, creates, stage.bare_calls())
    return [compared(f"creates, {OUTSTANDING} outstanding, runs executing", "creates/s", rounds, BARE_CALL)]


async def latency(stage: Stage) -> list[Figure]:
    ours, bare = [], []
    for _ in range(stage.sizes.rounds + 1):
        bare.append(await stage.client.call("latencies", NOOP, stage.sizes.calls))
        ours.append(await stage.client.call("latencies", DAEMON, stage.sizes.calls))
    names = ("create, 1 outstanding, p50", "create, 1 outstanding, p99")
    by_percentile = zip(names, zip(*ours[1:], strict=True), zip(*bare[1:], strict=True), strict=True)
    return [compared(name, "ms", Rounds(daemon, noop), BARE_CALL) for name, daemon, noop in by_percentile]


async def creates(stage: Stage) -> list[Figure]:
    ours = partial(stage.client.call, "creates", DAEMON, OUTSTANDING, stage.sizes.window_seconds)
    rounds = await interleaved(stage.sizes.rounds, ours, stage.bare_calls())
    return [compared(f"creates, {OUTSTANDING} outstanding", "creates/s", rounds, BARE_CALL, CREATE_RATIO)]


async def memory(stage: Stage) -> list[Figure]:
    idle = stage.idle_mib
    return [
        Figure("memory of the daemon, freshly started", idle, "MiB", goal=at_most(f"{IDLE_MIB} MiB", idle, IDLE_MIB)),
        Figure("memory of the daemon, after the load", stage.daemon.rss_mib(), "MiB"),
    ]


# In this order: runs that only queue come last, so that no other row meets them.
ROWS: dict[str, Row] = {
    "inprocess": inprocess,
    "workflow-steps": workflow_steps,
    "workflow-runs": workflow_runs,
    "process": process,
    "events": events,
    "lines": lines,
    "creates-busy": creates_busy,
    "latency": latency,
    "creates": creates,
    "memory": memory,
}
