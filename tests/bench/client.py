"""The load: a process with raw stubs of the contract, so that a call costs it as little as can be,
and with the Python client.

Started as `python -m tests.bench.client DAEMON_ADDRESS NOOP_ADDRESS`; the functions below are its
calls. Where they take a server it is DAEMON or NOOP.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from functools import partial

import grpc
from runsd_client import AsyncRunsClient
from runsd_client.proto import runs_pb2, runs_pb2_grpc

from tests.bench.closed_loop import rate, run_loop
from tests.bench.peer import answer_calls
from tests.bench.project import EVENTS, LINES, NOTHING, STEPS
from tests.bench.python_client import PythonClient
from tests.bench.server import CHANNEL_OPTIONS
from tests.bench.subscribers import follow_all
from tests.bench.watching import current_position, wait_for_endings, watched_endings

DAEMON = "daemon"
NOOP = "noop"
# Runs that are to be created and not executed wait for long after the benchmark.
LATER_SECONDS = 30 * 86400.0
INPUT = '{"name":"sync-data","batch_size":100}'


class Client:
    def __init__(self, daemon: grpc.aio.Channel, noop: grpc.aio.Channel) -> None:
        self._daemon = runs_pb2_grpc.RunsStub(daemon)
        self._stubs = {DAEMON: self._daemon, NOOP: runs_pb2_grpc.RunsStub(noop)}

    async def sample(self) -> str:
        """One answer to a create, in hexadecimal digits."""
        answer = await self._daemon.CreateRun(_queued_only())
        return answer.SerializeToString().hex()

    async def creates_per_second(self, server: str, outstanding: int, seconds: float) -> float:
        """Of runs that are queued and do not execute."""
        return await rate(partial(self._stubs[server].CreateRun, _queued_only()), outstanding, seconds)

    async def busy_creates_per_second(self, outstanding: int, seconds: float) -> float:
        """Of runs that execute as they come; returns when the last has ended."""
        position = await current_position(self._daemon)
        done = await run_loop(partial(self._daemon.CreateRun, _request(NOTHING)), outstanding, seconds)
        await wait_for_endings(self._daemon, position, done.count)
        return done.per_second

    async def create_latencies(self, server: str, calls: int) -> tuple[float, float]:
        """Milliseconds of one create after the other: median and 99th percentile."""
        create, request = self._stubs[server].CreateRun, _queued_only()
        times = []
        for _ in range(calls):
            begin = time.perf_counter()
            await create(request)
            times.append((time.perf_counter() - begin) * 1000)
        percentiles = statistics.quantiles(times, n=100)
        return statistics.median(times), percentiles[98]

    async def runs_per_second(self, target: str, outstanding: int, seconds: float) -> float:
        """From create to the terminal event."""
        request = _request(target)
        async with watched_endings(self._daemon) as endings:

            async def one() -> None:
                answer = await self._daemon.CreateRun(request)
                await endings.of(answer.run.run_id)

            return await rate(one, outstanding, seconds)

    async def live_events(self, count: int) -> tuple[float, str]:
        """Events a second while a run emits them, and its id."""
        begin = time.perf_counter()
        answer = await self._daemon.CreateRun(runs_pb2.CreateRunRequest(target=EVENTS, input_json=str(count)))
        run_id = answer.run.run_id
        received = await self._receive(DAEMON, run_id, follow=True)
        return received / (time.perf_counter() - begin), run_id

    async def replayed_events(self, server: str, run_id: str) -> float:
        """Events a second of a run that has ended."""
        begin = time.perf_counter()
        received = await self._receive(server, run_id, follow=False)
        return received / (time.perf_counter() - begin)

    async def _receive(self, server: str, run_id: str, *, follow: bool) -> int:
        stream = self._stubs[server].Events(runs_pb2.EventsRequest(run_id=run_id, follow=follow))
        received = 0
        async for page in stream:
            received += len(page.data)
        return received

    async def lines_per_second(self, count: int) -> float:
        """From create to the terminal event of a run that writes `count` lines."""
        async with watched_endings(self._daemon) as endings:
            begin = time.perf_counter()
            answer = await self._daemon.CreateRun(_request(LINES))
            await endings.of(answer.run.run_id)
            return count / (time.perf_counter() - begin)

    async def steps_per_second(self, count: int) -> float:
        """From create to the terminal event of a workflow of `count` steps."""
        async with watched_endings(self._daemon) as endings:
            begin = time.perf_counter()
            request = runs_pb2.CreateRunRequest(target=STEPS, input_json=str(count))
            answer = await self._daemon.CreateRun(request)
            await endings.of(answer.run.run_id)
            return count / (time.perf_counter() - begin)

    async def drained_per_second(self, target: str, count: int) -> float:
        """From the call that creates `count` runs at once, at most 1000, to the end of the last."""
        position = await current_position(self._daemon)
        requests = [_request(target)] * count
        begin = time.perf_counter()
        await self._daemon.BatchCreateRuns(runs_pb2.BatchCreateRunsRequest(requests=requests))
        await wait_for_endings(self._daemon, position, count)
        return count / (time.perf_counter() - begin)


def _request(target: str) -> runs_pb2.CreateRunRequest:
    return runs_pb2.CreateRunRequest(target=target, name="bench", input_json=INPUT)


def _queued_only() -> runs_pb2.CreateRunRequest:
    request = _request(NOTHING)
    request.start_after_seconds = LATER_SECONDS
    return request


async def main(daemon_address: str, noop_address: str) -> None:
    async with (
        grpc.aio.insecure_channel(daemon_address, options=CHANNEL_OPTIONS) as daemon,
        grpc.aio.insecure_channel(noop_address, options=CHANNEL_OPTIONS) as noop,
        AsyncRunsClient(daemon_address) as users,
    ):
        client = Client(daemon, noop)
        python_client = PythonClient(users, runs_pb2_grpc.RunsStub(daemon))
        await answer_calls(
            {
                "sample": client.sample,
                "creates": client.creates_per_second,
                "busy_creates": client.busy_creates_per_second,
                "latencies": client.create_latencies,
                "runs": client.runs_per_second,
                "live": client.live_events,
                "replay": client.replayed_events,
                "lines": client.lines_per_second,
                "steps": client.steps_per_second,
                "drained": client.drained_per_second,
                "followed_runs": python_client.followed_per_second,
                "waited_runs": python_client.waited_per_second,
                "follow": partial(follow_all, daemon_address),
            }
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
