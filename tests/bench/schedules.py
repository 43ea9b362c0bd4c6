"""What schedules cost: thousands due at one moment, one that is due every second, and those that are not due.

Beside the runs of schedules stand as many runs that were created in batches, in the same daemon.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import runs_pb2, runs_pb2_grpc, schedules_pb2_grpc
from runsd_client.proto import schedules_pb2 as pb

from tests.bench.figures import Figure, at_most, compared
from tests.bench.project import NOTHING, write_project
from tests.bench.rounds import Rounds
from tests.bench.server import CHANNEL_OPTIONS, Server, ServerFailed, started_daemon
from tests.bench.sizes import OUTSTANDING, Sizes
from tests.bench.watching import COMPLETED, TERMINAL, RunEndedBadly, current_position

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub
    from runsd_client.proto.schedules_pb2_grpc import SchedulesAsyncStub

BATCH = 1000
DUE_SECONDS = 60.0
MOST_LATE_MS = 50.0
OCCURRENCES = 20
IDLE_SECONDS = 10.0
FAR_SECONDS = 30 * 86400.0
EVERY_SECOND = "every-second"
CREATED = "run.created"
TICKS = os.sysconf("SC_CLK_TCK")
# How much longer than the first time creating as many again may take.
MARGIN, MARGIN_SECONDS = 2.0, 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """Of a daemon's life so far: CPU seconds, and how often one of its threads slept to be woken."""

    cpu: float
    sleeps: int

    def since(self, before: Work) -> Work:
        return Work(self.cpu - before.cpu, self.sleeps - before.sleeps)


@dataclass(frozen=True, slots=True)
class Burst:
    """Runs made at once: seconds until all are created, and until all have ended, and CPU seconds."""

    created: float
    ended: float
    cpu: float


async def measure_schedules(directory: Path, sizes: Sizes) -> list[Figure]:
    place = directory / "schedules"
    place.mkdir()
    write_project(place / "project", 1)
    async with (
        started_daemon(place / "project", place) as daemon,
        grpc.aio.insecure_channel(daemon.address, options=CHANNEL_OPTIONS) as channel,
    ):
        bench = _Bench(daemon, schedules_pb2_grpc.SchedulesStub(channel), runs_pb2_grpc.RunsStub(channel))
        return [figure async for figure in bench.figures(sizes.schedules)]


class _Bench:
    def __init__(self, daemon: Server, schedules: SchedulesAsyncStub, runs: RunsAsyncStub) -> None:
        self._daemon = daemon
        self._schedules = schedules
        self._runs = runs

    async def figures(self, size: int) -> AsyncIterator[Figure]:
        bare = await self._idle()
        seconds = await self._create("later", size, time.time() + FAR_SECONDS)
        yield Figure(f"schedules created, {OUTSTANDING} outstanding", size / seconds, "schedules/s")
        for figure in _idle_figures(size, await self._idle(), bare):
            yield figure
        for figure in _lateness_figures(await self._lateness()):
            yield figure
        batch = await self._burst(size, self._batch)
        due = await self._burst(size, lambda size: self._at_one_moment(size, seconds))
        for figure in _burst_figures(size, due, batch):
            yield figure

    async def _create(self, name: str, size: int, at: float) -> float:
        """Seconds that it took."""
        spec = pb.ScheduleSpec(target=NOTHING, timetable=pb.Timetable(at=_stamp(at)))
        numbers = iter(range(size))

        async def worker() -> None:
            for number in numbers:
                request = pb.CreateScheduleRequest(schedule_id=f"{name}/{number}", spec=spec)
                await self._schedules.CreateSchedule(request)

        begin = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(OUTSTANDING)))
        return time.perf_counter() - begin

    async def _idle(self) -> Work:
        before = work_of(self._daemon.pid)
        await asyncio.sleep(IDLE_SECONDS)
        return work_of(self._daemon.pid).since(before)

    async def _lateness(self) -> list[float]:
        """Milliseconds between an occurrence and the creation of its run."""
        position = await current_position(self._runs)
        spec = pb.ScheduleSpec(target=NOTHING, timetable=pb.Timetable(every_seconds=1))
        await self._schedules.CreateSchedule(pb.CreateScheduleRequest(schedule_id=EVERY_SECOND, spec=spec))
        stream = self._runs.WatchEvents(runs_pb2.WatchEventsRequest(event_types=TERMINAL, after_position=position))
        ended = 0
        async for page in stream:
            ended += len(page.data)
            if ended >= OCCURRENCES:
                stream.cancel()
                break
        await self._schedules.DeleteSchedule(pb.DeleteScheduleRequest(schedule_id=EVERY_SECOND))
        found = await self._runs.ListRuns(runs_pb2.ListRunsRequest(schedule_id=EVERY_SECOND, limit=BATCH))
        return [(run.created_at.ToMicroseconds() - run.scheduled_for.ToMicroseconds()) / 1000 for run in found.data]

    async def _batch(self, size: int) -> tuple[float, Work]:
        """When it began, and what had been done before."""
        begin, before = time.time(), work_of(self._daemon.pid)
        one = runs_pb2.CreateRunRequest(target=NOTHING)
        for made in range(0, size, BATCH):
            requests = [one] * min(BATCH, size - made)
            await self._runs.BatchCreateRuns(runs_pb2.BatchCreateRunsRequest(requests=requests))
        return begin, before

    async def _at_one_moment(self, size: int, seconds: float) -> tuple[float, Work]:
        """The moment, and what had been done before. `seconds` is how long creating as many schedules took before."""
        due = time.time() + seconds * MARGIN + MARGIN_SECONDS
        await self._create("due", size, due)
        if time.time() > due:
            raise ServerFailed(f"{size} schedules took more than {seconds * MARGIN + MARGIN_SECONDS:.0f} s to create")
        return due, work_of(self._daemon.pid)

    async def _burst(self, size: int, make: Callable[[int], Awaitable[tuple[float, Work]]]) -> Burst:
        position = await current_position(self._runs)
        watching = asyncio.create_task(self._watch(size, position))
        begin, before = await make(size)
        created, ended = await watching
        return Burst(created - begin, ended - begin, work_of(self._daemon.pid).since(before).cpu)

    async def _watch(self, size: int, position: int) -> tuple[float, float]:
        """When the last of the runs was created, and when the last ended, by the daemon's own word."""
        request = runs_pb2.WatchEventsRequest(event_types=[CREATED, *TERMINAL], after_position=position)
        stream = self._runs.WatchEvents(request)
        last = {CREATED: 0.0, COMPLETED: 0.0}
        seen = dict.fromkeys(last, 0)
        async for page in stream:
            for watched in page.data:
                event = watched.event
                if event.event_type not in last:
                    raise RunEndedBadly(f"{watched.run_id}: {event.event_type} {event.payload_json}")
                last[event.event_type] = event.created_at.ToMicroseconds() / 1e6
                seen[event.event_type] += 1
            if seen[COMPLETED] >= size:
                stream.cancel()
                break
        return last[CREATED], last[COMPLETED]


def work_of(pid: int) -> Work:
    process = Path(f"/proc/{pid}")
    # After the name, which is in parentheses: utime and stime are the 14th and 15th of all.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / TICKS
    return Work(cpu, sum(_sleeps(thread) for thread in (process / "task").iterdir()))


def _sleeps(thread: Path) -> int:
    for line in (thread / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "voluntary_ctxt_switches":
            return int(value)
    raise ProcessLookupError(thread)


def _idle_figures(size: int, idle: Work, bare: Work) -> list[Figure]:
    """Nothing is to be done for schedules that are not due: no more than without them."""
    baseline = "no schedules"
    return [
        Figure(f"{size:,} schedules, none due: CPU", idle.cpu / IDLE_SECONDS * 1000, "ms/s", baseline,
               bare.cpu / IDLE_SECONDS * 1000),
        Figure("… threads woken", idle.sleeps / IDLE_SECONDS, "1/s", baseline, bare.sleeps / IDLE_SECONDS),
    ]  # fmt: skip


def _lateness_figures(late: list[float]) -> list[Figure]:
    median, most = statistics.median(late), statistics.quantiles(late, n=100)[98]
    half = Figure(f"run of a schedule that is due every second, {len(late)} times: late, p50", median, "ms")
    return [
        replace(half, goal=at_most(f"{MOST_LATE_MS:g} ms", median, MOST_LATE_MS)),
        Figure("… p99", most, "ms"),
    ]


def _burst_figures(size: int, due: Burst, batch: Burst) -> list[Figure]:
    created = _compared(f"{size:,} schedules due at once: all runs created within", "s", due.created, batch.created)
    return [
        replace(created, goal=at_most(f"{DUE_SECONDS:g} s", due.created, DUE_SECONDS)),
        _compared("… all completed within", "s", due.ended, batch.ended),
        _compared("… CPU", "s", due.cpu, batch.cpu),
    ]


def _compared(name: str, unit: str, due: float, batch: float) -> Figure:
    return compared(name, unit, Rounds((due,), (batch,)), "BatchCreateRuns of as many")


def _stamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp
