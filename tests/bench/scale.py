"""What must hold at size: 200 subscribers of a million lines, and a long queue, with memory flat."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.bench.figures import Figure, Goal
from tests.bench.peer import Peer, started_peer
from tests.bench.project import LINES, NOTHING, write_project
from tests.bench.server import CHANNEL_OPTIONS, Server, started_daemon
from tests.bench.watching import current_position, wait_for_endings

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

LINE_COUNT = 1_000_000
SUBSCRIBERS = 200
CLIENTS = 4
PENDING = 10_000
BATCH = 1000
# Time for all subscribers, or for the whole queue, to be there before the first run starts.
GATHERING_SECONDS = 5.0
SAMPLE_SECONDS = 0.1


async def measure_scale(directory: Path) -> list[Figure]:
    write_project(directory / "project", LINE_COUNT)
    async with (
        started_daemon(directory / "project", directory) as daemon,
        grpc.aio.insecure_channel(daemon.address, options=CHANNEL_OPTIONS) as channel,
    ):
        stub: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        return [*await _subscribers(daemon, stub), *await _queue(daemon, stub)]


async def _subscribers(daemon: Server, stub: RunsAsyncStub) -> list[Figure]:
    sha256 = hashlib.sha256("".join(f"{n}\n" for n in range(1, LINE_COUNT + 1)).encode()).hexdigest()
    async with _clients(daemon) as clients, _sampled_memory(daemon) as samples:
        request = runs_pb2.CreateRunRequest(target=LINES, start_after_seconds=GATHERING_SECONDS)
        run_id = (await stub.CreateRun(request)).run.run_id
        each = SUBSCRIBERS // CLIENTS
        answers = await asyncio.gather(*(client.call("follow", run_id, each, sha256) for client in clients))
    intact = sum(count for count, _ in answers)
    seconds = max(at for _, at in answers) - await _started_at(stub, run_id)
    goal = Goal("all", intact == SUBSCRIBERS, is_a_must=True)
    return [
        Figure(f"{SUBSCRIBERS} subscribers of {LINE_COUNT:,} lines: saw all, in order", intact, "intact", goal=goal),
        Figure("… from the run's start until the last was done", seconds, "s"),
        *_memory("…", samples),
    ]


async def _queue(daemon: Server, stub: RunsAsyncStub) -> list[Figure]:
    one = runs_pb2.CreateRunRequest(target=NOTHING, start_after_seconds=GATHERING_SECONDS)
    async with _sampled_memory(daemon) as samples:
        position = await current_position(stub)
        for _ in range(PENDING // BATCH):
            batch = await stub.BatchCreateRuns(runs_pb2.BatchCreateRunsRequest(requests=[one] * BATCH))
        await wait_for_endings(stub, position, PENDING)
        seconds = time.time() - batch.data[-1].run.start_after.ToNanoseconds() / 1e9
    return [
        Figure(f"{PENDING:,} pending runs: drained within", seconds, "s"),
        Figure("… a second", PENDING / seconds, "runs/s"),
        *_memory("…", samples),
    ]


@asynccontextmanager
async def _clients(daemon: Server) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        starting = (started_peer("tests.bench.client", daemon.address, daemon.address) for _ in range(CLIENTS))
        yield [await stack.enter_async_context(peer) for peer in starting]


@asynccontextmanager
async def _sampled_memory(daemon: Server) -> AsyncIterator[list[float]]:
    """Resident memory in MiB over time, from entering to leaving."""
    samples = [daemon.rss_mib()]

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.append(daemon.rss_mib())

    sampling = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        samples.append(daemon.rss_mib())


def _memory(name: str, samples: list[float]) -> list[Figure]:
    return [
        Figure(f"{name} memory at the start", samples[0], "MiB"),
        Figure(f"{name} memory at most", max(samples), "MiB"),
        Figure(f"{name} memory at the end", samples[-1], "MiB"),
    ]


async def _started_at(stub: RunsAsyncStub, run_id: str) -> float:
    run = (await stub.GetRun(runs_pb2.GetRunRequest(run_id=run_id))).run
    return run.started_at.ToNanoseconds() / 1e9
