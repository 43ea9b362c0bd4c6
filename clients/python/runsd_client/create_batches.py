"""Runs that are created at the same time travel together: one call for many, an answer for each.

A caller sees what CreateRun answers. Whoever finds fewer than MOST_CALLS under way is sent at once, with
those that came in the same turn of the event loop; others go with the next call that has room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from runsd_client.calls import Call
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


_Sending = Coroutine[Any, Any, Sequence[CreateAnswer | None]]


class Once(Protocol):
    """One try of a call. Raises grpc.RpcError."""

    def __call__(self, call: Call[T], /) -> Awaitable[T]: ...


class _Batch:
    """Requests of one project that go together; `answers` has None for those that must be sent alone."""

    def __init__(self, send: Callable[[_Batch], _Sending], project: str) -> None:
        self.project = project
        self.requests: list[CreateRunRequest] = []
        self.answers = asyncio.create_task(send(self))


class CreateBatches:
    """Of one client and one event loop."""

    def __init__(self, once: Once, error_of: Callable[[grpc.RpcError], RunsError]) -> None:
        self._once = once
        self._error_of = error_of
        self._under_way = asyncio.Semaphore(MOST_CALLS)
        self._open: dict[str, _Batch] = {}
        self._unanswered: set[_Batch] = set()

    async def answer(self, request: CreateRunRequest) -> CreateAnswer:
        """One try. Raises grpc.RpcError. A caller that gives up takes nobody else's answer away."""
        if request.ByteSize() > LARGEST_REQUEST_BYTES:
            return await self._alone(request)
        batch, index = self._place(request)
        answers = await asyncio.shield(batch.answers)
        return answers[index] or await self._alone(request)

    async def ended(self) -> None:
        """Returns when no call is under way, however they ended."""
        await asyncio.gather(*(batch.answers for batch in self._unanswered), return_exceptions=True)

    def _place(self, request: CreateRunRequest) -> tuple[_Batch, int]:
        batch = self._open.get(request.project)
        if batch is None:
            batch = self._open[request.project] = _Batch(self._send, request.project)
            self._unanswered.add(batch)
        batch.requests.append(request)
        if len(batch.requests) == MOST_RUNS:
            self._close(batch)
        return batch, len(batch.requests) - 1

    def _close(self, batch: _Batch) -> None:
        """What comes now is of the next one."""
        if self._open.get(batch.project) is batch:
            del self._open[batch.project]

    async def _send(self, batch: _Batch) -> Sequence[CreateAnswer | None]:
        try:
            async with self._under_way:
                self._close(batch)
                return await self._sent(batch)
        finally:
            self._unanswered.discard(batch)

    async def _sent(self, batch: _Batch) -> Sequence[CreateAnswer | None]:
        if len(batch.requests) == 1:
            return [await self._alone(batch.requests[0])]
        try:
            return await self._once(_together(batch))
        except grpc.RpcError as error:
            if isinstance(self._error_of(error), UnreachableError):
                raise
            # All were refused for some of them: each is to hear its own answer.
            return [None] * len(batch.requests)

    def _alone(self, request: CreateRunRequest) -> Awaitable[CreateAnswer]:
        return self._once(Call("CreateRun", request, read_create_answer))


def _together(batch: _Batch) -> Call[Sequence[CreateAnswer | None]]:
    request = BatchCreateRunsRequest(project=batch.project, requests=batch.requests)
    return Call("BatchCreateRuns", request, lambda answer: list(map(_as_alone, batch.requests, answer.data)))


def _as_alone(request: CreateRunRequest, created: CreateRunResponse) -> CreateAnswer | None:
    """Batches are answered without documents. Those of a new run are what was sent; a known one has more."""
    if created.duplicate:
        return None
    created.run.input_json = request.input_json
    created.run.config_json = request.config_json
    return read_create_answer(created)
