"""What workflows that wait cost: the memory that they add, and how late their timeouts come after a restart.

They all wait for a signal with a timeout that ends at one moment. The daemon is killed before it, and
started again when it has passed, so that it finds all of them due at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.bench.figures import Figure, Goal, at_most
from tests.bench.restarting import RestartingDaemon
from tests.bench.rounds import median
from tests.bench.server import CHANNEL_OPTIONS, ServerFailed
from tests.bench.sizes import Sizes
from tests.bench.watching import TERMINAL, current_position

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

MOST_MIB = 50
MAX_RUNNING = 64
AT_ONCE = 1000
WAITS, LATE = "workflow:waits", "waited.late"
# Until all wait: so long, and so many a second more. A slower machine has some that are due before they wait.
BEGIN_SECONDS, BEGUN_PER_SECOND = 5.0, 150
ALL_WAIT_SECONDS = 600.0
_RUNS_TOML = """
[project]
id = "waiting"
modules = ["waiting_workflows"]
"""
_WORKFLOWS = f"""
from runsd import WaitTimeout, workflow


@workflow
async def waits(ctx, until):
    left = until - ctx.now().timestamp()
    try:
        await ctx.wait_for_signal("never", timeout=max(left, 0.001))
    except WaitTimeout:
        ctx.emit("{LATE}", {{"seconds": ctx.now().timestamp() - until}})
"""


@dataclass(frozen=True, slots=True)
class Late:
    """Seconds after the moment when they were due and the daemon there."""

    half: float
    most: float
    count: int


async def measure_waiting(directory: Path, sizes: Sizes) -> list[Figure]:
    count = sizes.waiting
    project = directory / "waiting"
    project.mkdir()
    (project / "runs.toml").write_text(_RUNS_TOML)
    (project / "waiting_workflows.py").write_text(_WORKFLOWS)
    daemon = RestartingDaemon(project, directory / "waits", MAX_RUNNING)
    try:
        await daemon.start()
        idle = daemon.rss_mib()
        until = time.time() + BEGIN_SECONDS + count / BEGUN_PER_SECOND
        async with _connected(daemon) as stub:
            position = await _all_wait(stub, count, until)
        begun = daemon.rss_mib()
        await daemon.kill()
        await daemon.start()
        resident = daemon.rss_mib()
        await daemon.kill()
        await asyncio.sleep(max(until - time.time(), 0))
        late = await _late(daemon, position, count, until)
    finally:
        await daemon.stop()
    return [
        _added(f"{count:,} waiting workflows: memory added", resident - idle),
        _added("… in the daemon that began them", begun - idle),
        Figure("… timeouts due while it was away: half come within", late.half, "s"),
        Figure("… and all within", late.most, "s"),
        Figure("… which go on, due at one moment, at", late.count / late.most, "runs/s"),
        Figure("… timeouts that came", late.count, "runs", goal=Goal("all", late.count == count, is_a_must=True)),
    ]


def _added(name: str, mib: float) -> Figure:
    """Far from the bound and much the same each time: past it, waiting runs are kept in memory."""
    goal = replace(at_most(f"{MOST_MIB} MiB", mib, MOST_MIB), is_a_must=True)
    return Figure(name, mib, "MiB", goal=goal)


@asynccontextmanager
async def _connected(daemon: RestartingDaemon) -> AsyncIterator[RunsAsyncStub]:
    async with grpc.aio.insecure_channel(daemon.address, options=CHANNEL_OPTIONS) as channel:
        yield runs_pb2_grpc.RunsStub(channel)


async def _all_wait(stub: RunsAsyncStub, count: int, until: float) -> int:
    """Returns when all wait: the position from which on their ends come."""
    position = await current_position(stub)
    one = runs_pb2.CreateRunRequest(target=WAITS, input_json=json.dumps(until))
    for made in range(0, count, AT_ONCE):
        await stub.BatchCreateRuns(runs_pb2.BatchCreateRunsRequest(requests=[one] * min(AT_ONCE, count - made)))
    try:
        async with asyncio.timeout(ALL_WAIT_SECONDS):
            await _until_all_wait(stub, position, count)
    except TimeoutError:
        raise ServerFailed(f"{count} workflows did not all begin to wait in {ALL_WAIT_SECONDS:g} s") from None
    return position


async def _until_all_wait(stub: RunsAsyncStub, position: int, count: int) -> None:
    stream = stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=["run.waiting"], after_position=position))
    waiting: set[str] = set()
    async for page in stream:
        waiting.update(watched.run_id for watched in page.data)
        if len(waiting) == count:
            stream.cancel()
            return


async def _late(daemon: RestartingDaemon, position: int, count: int, until: float) -> Late:
    """How much later than the daemon was there the timeouts came."""
    await daemon.start()
    away = time.time() - until
    async with _connected(daemon) as stub:
        seconds = await _until_all_came(stub, position, count)
    return Late(median(seconds) - away, max(seconds) - away, len(seconds))


async def _until_all_came(stub: RunsAsyncStub, position: int, count: int) -> tuple[float, ...]:
    """What the workflows told of it until all had ended."""
    request = runs_pb2.WatchEventsRequest(event_types=[LATE, *TERMINAL], after_position=position)
    stream = stub.WatchEvents(request)
    seconds: list[float] = []
    async for page in stream:
        for watched in page.data:
            if watched.event.event_type == LATE:
                seconds.append(json.loads(watched.event.payload_json)["seconds"])
            else:
                count -= 1
        if count <= 0:
            stream.cancel()
            break
    return tuple(seconds)
