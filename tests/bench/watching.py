"""The ends of runs, seen through one WatchEvents stream."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from runsd_client import AsyncRunsClient, WatchedEvent
from runsd_client.proto import runs_pb2

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

COMPLETED = "run.completed"
TERMINAL = (COMPLETED, "run.failed", "run.cancelled")


Watched = runs_pb2.WatchedEvent | WatchedEvent


class RunEndedBadly(Exception):
    """A run that the benchmark created did not complete: there is nothing to measure."""


class Endings:
    """Futures of runs by id, whichever of the answer and the end comes first."""

    def __init__(self) -> None:
        self._ended: defaultdict[str, asyncio.Future[None]] = defaultdict(asyncio.get_running_loop().create_future)

    async def of(self, run_id: str) -> None:
        await self._ended[run_id]
        del self._ended[run_id]

    def note(self, watched: Watched) -> None:
        _check(watched)
        self._ended[watched.run_id].set_result(None)


@asynccontextmanager
async def watched_endings(stub: RunsAsyncStub) -> AsyncIterator[Endings]:
    """Runs created inside are seen; leaving ends the stream."""
    pages = aiter(stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=TERMINAL)))
    await anext(pages)  # the stream is there: nothing after this is missed

    async def all_of_them() -> AsyncIterator[Watched]:
        async for page in pages:
            for watched in page.data:
                yield watched

    async with _noted(all_of_them()) as endings:
        yield endings


@asynccontextmanager
async def endings_seen_by(client: AsyncRunsClient, position: int) -> AsyncIterator[Endings]:
    """The same through the Python client, from `position` on."""
    async with (
        aclosing(client.watch(event_types=TERMINAL, after_position=position)) as watched,
        _noted(watched) as endings,
    ):
        yield endings


@asynccontextmanager
async def _noted(stream: AsyncIterator[Watched]) -> AsyncIterator[Endings]:
    endings = Endings()

    async def note_all() -> None:
        async for watched in stream:
            endings.note(watched)

    async with asyncio.TaskGroup() as group:
        noting = group.create_task(note_all())
        yield endings
        noting.cancel()


async def current_position(stub: RunsAsyncStub) -> int:
    stream = stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=TERMINAL))
    async for page in stream:
        stream.cancel()
        return page.position
    raise AssertionError("WatchEvents never ends by itself")


async def wait_for_endings(stub: RunsAsyncStub, position: int, count: int) -> None:
    """Returns when `count` runs have ended since `position`."""
    stream = stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=TERMINAL, after_position=position))
    async for page in stream:
        for watched in page.data:
            _check(watched)
        count -= len(page.data)
        if count <= 0:
            stream.cancel()
            return


def _check(watched: Watched) -> None:
    if watched.event.event_type != COMPLETED:
        raise RunEndedBadly(f"{watched.run_id}: {watched.event}")
