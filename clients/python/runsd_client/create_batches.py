"""Runs that are created at the same time travel together: one call for many, an answer for each.

A caller sees what CreateRun answers. Whoever finds fewer than MOST_CALLS under way is sent at once, with
those that came in the same turn of the event loop; others go with the next call that has room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
import grpc.aio

from runsd_client.calls import Call, create_of
from runsd_client.conversion import read_create_answer
from runsd_client.errors import RunsError, UnreachableError
from runsd_client.proto.runs_pb2 import BatchCreateRunsRequest, CreateRunRequest, CreateRunResponse
from runsd_client.values import CreateAnswer

T = TypeVar("T")

# Enough that the daemon has one to write while others travel, and few enough that they fill.
MOST_CALLS = 4
MOST_RUNS = 250
# So that a full call is far below what a daemon takes. Larger ones gain nothing by company.
LARGEST_REQUEST_BYTES = 32 << 10


class Once(Protocol):
    """One try of a call. Raises grpc.RpcError."""

    def __call__(self, call: Call[T], /) -> Awaitable[T]: ...


@dataclass(eq=False, slots=True)
class _Asked:
    """`answer` is None where the request must be sent alone, and cancelled when nobody waits for it."""

    request: CreateRunRequest
    answer: asyncio.Future[CreateAnswer | None]


class _Batch:
    """Requests of one project that go together."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.asked: list[_Asked] = []
        self.is_sent = False

    @property
    def waiting(self) -> list[_Asked]:
        return [asked for asked in self.asked if not asked.answer.done()]

    def fail(self, error: Exception) -> None:
        for asked in self.waiting:
            asked.answer.set_exception(error)


class CreateBatches:
    """Of one client and one event loop."""

    def __init__(self, once: Once, error_of: Callable[[grpc.RpcError], RunsError]) -> None:
        self._once = once
        self._error_of = error_of
        self._under_way = asyncio.Semaphore(MOST_CALLS)
        self._open: dict[str, _Batch] = {}
        self._sending: dict[_Batch, asyncio.Task[None]] = {}

    async def answer(self, request: CreateRunRequest) -> CreateAnswer:
        """One try. Raises grpc.RpcError. What its caller gives up before it is sent is not sent."""
        if request.ByteSize() > LARGEST_REQUEST_BYTES:
            return await self._alone(request)
        batch = self._batch(request.project)
        asked = _Asked(request, asyncio.get_running_loop().create_future())
        batch.asked.append(asked)
        if len(batch.asked) == MOST_RUNS:
            self._close(batch)
        try:
            answer = await asked.answer
        except asyncio.CancelledError:
            self._give_up(batch)
            raise
        return answer or await self._alone(request)

    async def ended(self) -> None:
        """Returns when no call is under way, however they ended."""
        await asyncio.gather(*self._sending.values(), return_exceptions=True)

    def _batch(self, project: str) -> _Batch:
        batch = self._open.get(project)
        if batch is None:
            batch = self._open[project] = _Batch(project)
            self._begin(batch)
        return batch

    def _begin(self, batch: _Batch) -> None:
        self._sending[batch] = task = asyncio.create_task(self._send(batch))
        task.add_done_callback(lambda task: self._sending.pop(batch))

    def _close(self, batch: _Batch) -> None:
        """What comes now is of the next one."""
        if self._open.get(batch.project) is batch:
            del self._open[batch.project]

    def _give_up(self, batch: _Batch) -> None:
        if not batch.waiting and batch in self._sending:
            self._close(batch)
            self._sending[batch].cancel()

    async def _send(self, batch: _Batch) -> None:
        try:
            async with self._under_way:
                self._close(batch)
                batch.is_sent = True
                await self._sent(batch)
        except grpc.RpcError as error:
            batch.fail(error)
            if self._is_gone(error):
                self._fail_those_that_wait(error)
        except RunsError as error:
            batch.fail(error)
        finally:
            for asked in batch.waiting:
                asked.answer.set_result(None)

    def _is_gone(self, error: grpc.RpcError) -> bool:
        return isinstance(self._error_of(error), UnreachableError)

    def _fail_those_that_wait(self, error: grpc.RpcError) -> None:
        """They would have been under way as well, had there been room."""
        for batch in [batch for batch in self._sending if not batch.is_sent]:
            self._close(batch)
            batch.fail(error)

    async def _sent(self, batch: _Batch) -> None:
        """Leaves those unanswered that must be sent alone."""
        asked = batch.waiting
        if len(asked) == 1:
            _answer(asked[0], await self._alone(asked[0].request))
        elif asked:
            await self._sent_together(batch.project, asked)

    async def _sent_together(self, project: str, asked: Sequence[_Asked]) -> None:
        requests = [one.request for one in asked]
        call = Call("BatchCreateRuns", BatchCreateRunsRequest(project=project, requests=requests), lambda a: a.data)
        try:
            created = await self._once(call)
        except grpc.RpcError as error:
            if self._is_gone(error):
                raise
            # All were refused for some of them: each is to hear its own answer.
            return
        for one, answer in zip(asked, created, strict=True):
            _answer(one, _as_alone(one.request, answer))

    def _alone(self, request: CreateRunRequest) -> Awaitable[CreateAnswer]:
        return self._once(create_of(request))


def _answer(asked: _Asked, answer: CreateAnswer | None) -> None:
    if not asked.answer.done():
        asked.answer.set_result(answer)


def _as_alone(request: CreateRunRequest, created: CreateRunResponse) -> CreateAnswer | None:
    """Batches are answered without documents. Those of a new run are what was sent; a known one has more."""
    if created.duplicate:
        return None
    created.run.input_json = request.input_json
    created.run.config_json = request.config_json
    return read_create_answer(created)
