"""Waits that begin at the same time share one stream: of many runs, and the record of each as it ends.

What cannot be waited for in company is waited for alone: a single run, a moment, a run that is not there.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import grpc
import grpc.aio

from runsd_client import calls
from runsd_client.calls import CALL_SECONDS
from runsd_client.conversion import read_run
from runsd_client.create_batches import Once
from runsd_client.errors import RunsError, UnreachableError
from runsd_client.proto.runs_pb2 import WaitRunsRequest, WaitRunsResponse
from runsd_client.values import Run
from runsd_client.waiting import LONGEST_CALL_SECONDS, SHORTEST_CALL_SECONDS

MOST_RUNS = 250
# Shorter waits are for a look at the run more than for its end.
LEAST_SECONDS = 0.1


class Stream(Protocol):
    """A call that answers more than once."""

    def __aiter__(self) -> AsyncIterator[WaitRunsResponse]: ...

    def cancel(self) -> bool: ...


# What to ask, and the deadline of the call in seconds.
Open = Callable[[WaitRunsRequest, float], Stream]
# None: it did not come with the others.
_Ended = asyncio.Future[Run | None]


class _Batch:
    def __init__(self) -> None:
        self.waiting: defaultdict[str, set[_Ended]] = defaultdict(set)

    def add(self, run_id: str) -> _Ended:
        future: _Ended = asyncio.get_running_loop().create_future()
        self.waiting[run_id].add(future)
        return future

    def remove(self, run_id: str, future: _Ended) -> None:
        if run_id in self.waiting:
            self.waiting[run_id].discard(future)
            if not self.waiting[run_id]:
                del self.waiting[run_id]

    def ended(self, run: Run) -> None:
        for future in self.waiting.pop(run.run_id, ()):
            if not future.done():
                future.set_result(run)

    def over(self, error: Exception | None = None) -> None:
        for future in set().union(*self.waiting.values()):
            if error is not None and not future.done():
                future.set_exception(error)
            elif not future.done():
                future.set_result(None)


class WaitBatches:
    """Of one client and one event loop."""

    def __init__(self, once: Once, open_stream: Open, error_of: Callable[[grpc.RpcError], RunsError]) -> None:
        self._once = once
        self._open_stream = open_stream
        self._error_of = error_of
        self._next: _Batch | None = None
        self._following: dict[_Batch, asyncio.Task[None]] = {}

    async def run(self, run_id: str, seconds: float) -> Run:
        """The run when it is terminal, or as it is when the time is over. One try: raises grpc.RpcError."""
        over_at = time.monotonic() + seconds
        if seconds >= LEAST_SECONDS:
            ended = await self._in_company(run_id, seconds)
            if ended is not None:
                return ended
        return await self._once(calls.wait(run_id, max(over_at - time.monotonic(), SHORTEST_CALL_SECONDS)))

    async def ended(self) -> None:
        """Returns when no stream is open, however they ended."""
        await asyncio.gather(*self._following.values(), return_exceptions=True)

    async def _in_company(self, run_id: str, seconds: float) -> Run | None:
        batch = self._batch()
        future = batch.add(run_id)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return None
        finally:
            if future.cancelled():
                self._leave(batch, run_id, future)

    def _batch(self) -> _Batch:
        """The one that all join in this turn of the event loop."""
        if self._next is None or len(self._next.waiting) >= MOST_RUNS:
            self._next = _Batch()
            self._begin(self._next)
        return self._next

    def _begin(self, batch: _Batch) -> None:
        self._following[batch] = task = asyncio.create_task(self._follow(batch))
        task.add_done_callback(lambda task: self._following.pop(batch))

    def _close(self, batch: _Batch) -> None:
        if self._next is batch:
            self._next = None

    def _leave(self, batch: _Batch, run_id: str, future: _Ended) -> None:
        batch.remove(run_id, future)
        if not batch.waiting:
            self._close(batch)
            if batch in self._following:
                self._following[batch].cancel()

    async def _follow(self, batch: _Batch) -> None:
        self._close(batch)
        try:
            if len(batch.waiting) > 1:
                await self._read(batch)
        except grpc.RpcError as error:
            if isinstance(self._error_of(error), UnreachableError):
                batch.over(error)
        except RunsError as error:
            batch.over(error)
        finally:
            batch.over()

    async def _read(self, batch: _Batch) -> None:
        request = WaitRunsRequest(run_ids=batch.waiting, timeout_seconds=LONGEST_CALL_SECONDS)
        stream = self._open_stream(request, LONGEST_CALL_SECONDS + CALL_SECONDS)
        try:
            async for answer in stream:
                for message in answer.data:
                    batch.ended(read_run(message))
        finally:
            stream.cancel()
