"""How soon a daemon that was killed is back, with a long queue, and processes that executed on without it.

Beside it, in the same rounds, the start of a daemon that has nothing to take up.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from runsd_client.proto import run_pb2, runs_pb2, runs_pb2_grpc

from tests.bench.figures import Figure, Goal, at_most, compared
from tests.bench.restarting import RestartingDaemon
from tests.bench.rounds import interleaved, median
from tests.bench.server import CHANNEL_OPTIONS, ServerFailed
from tests.bench.sizes import Sizes
from tests.bench.watching import current_position

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

READY_SECONDS = 3.0
BEGIN_SECONDS = 300.0
AT_ONCE = 1000
LIVE, PENDING = "task:live", "task:pending"
# Should nobody be left to end the live ones, they end by themselves.
_RUNS_TOML = """
[project]
id = "recovery"

[tasks.live]
command = ["sh", "-c", "echo begun; exec sleep 900"]

[tasks.pending]
command = ["true"]
"""


async def measure_recovery(directory: Path, sizes: Sizes) -> list[Figure]:
    project = directory / "recovery"
    project.mkdir()
    (project / "runs.toml").write_text(_RUNS_TOML)
    full = RestartingDaemon(project, directory / "full", sizes.live)
    empty = RestartingDaemon(project, directory / "empty", sizes.live)
    memory: dict[RestartingDaemon, list[float]] = {full: [], empty: []}

    async def restart(daemon: RestartingDaemon) -> float:
        await daemon.kill()
        seconds = await daemon.start()
        memory[daemon].append(daemon.rss_mib())
        return seconds

    try:
        await full.start()
        await _fill(full.address, sizes)
        rounds = await interleaved(sizes.rounds, lambda: restart(full), lambda: restart(empty))
        taken_up = await _taken_up(full.address)
    finally:
        await asyncio.gather(full.stop(), empty.stop())
    ready = compared(f"start after SIGKILL: {sizes.pending:,} pending, {sizes.live:,} live", "s", rounds, "empty start")
    resident = Figure("… memory when ready", median(tuple(memory[full])), "MiB")
    return [
        replace(ready, goal=at_most(f"{READY_SECONDS:g} s", ready.value, READY_SECONDS)),
        replace(resident, baseline_name=ready.baseline_name, baseline=median(tuple(memory[empty]))),
        Figure("… live runs taken up", taken_up, "runs", goal=Goal("all", taken_up == sizes.live, is_a_must=True)),
    ]


async def _fill(address: str, sizes: Sizes) -> None:
    """Returns when the live runs execute; they leave no room for the pending ones."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        position = await current_position(stub)
        await _create(stub, LIVE, sizes.live)
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                await _all_begun(stub, position, sizes.live)
        except TimeoutError:
            raise ServerFailed(f"{sizes.live} processes did not all begin; it takes files: see `ulimit -Hn`") from None
        await _create(stub, PENDING, sizes.pending)


async def _create(stub: RunsAsyncStub, target: str, count: int) -> None:
    one = runs_pb2.CreateRunRequest(target=target)
    for made in range(0, count, AT_ONCE):
        batch = runs_pb2.BatchCreateRunsRequest(requests=[one] * min(AT_ONCE, count - made))
        await stub.BatchCreateRuns(batch)


async def _all_begun(stub: RunsAsyncStub, position: int, count: int) -> None:
    """Each writes one line when its process executes."""
    stream = stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=["log"], after_position=position))
    async for page in stream:
        count -= len(page.data)
        if count <= 0:
            stream.cancel()
            return


async def _taken_up(address: str) -> int:
    """How many live runs are still in the attempt that began before the first crash."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        request = runs_pb2.ListRunsRequest(target=LIVE, statuses=[run_pb2.RUN_STATUS_RUNNING], limit=AT_ONCE)
        count = 0
        while True:
            page = await stub.ListRuns(request)
            count += sum(run.attempt == 1 for run in page.data)
            if not page.page_info.next:
                return count
            request.page_token = page.page_info.next
