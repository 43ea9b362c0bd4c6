"""The measure of all calls: a bare grpc.aio server with the messages of the contract, and no work.

`CreateRun` answers at once with one answer of a real daemon; `Events` yields made-up pages of the
daemon's size.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import run_pb2, runs_pb2, runs_pb2_grpc

from tests.bench.project import EVENT_TYPE

PAGE_EVENTS = 1000
_SOME_TIME = Timestamp(seconds=1_700_000_000, nanos=123_456_000)
Context = grpc.aio.ServicerContext[Any, Any]


class Noop(runs_pb2_grpc.RunsServicer):
    def __init__(self, answer: runs_pb2.CreateRunResponse, events: int) -> None:
        self._answer = answer
        self._pages = [_page(first, min(PAGE_EVENTS, events - first)) for first in range(0, events, PAGE_EVENTS)]

    async def CreateRun(  # noqa: N802
        self, request: runs_pb2.CreateRunRequest, context: Context
    ) -> runs_pb2.CreateRunResponse:
        return self._answer

    async def Events(  # noqa: N802
        self, request: runs_pb2.EventsRequest, context: Context
    ) -> AsyncIterator[runs_pb2.EventsResponse]:
        for page in self._pages:
            yield page


def _page(first: int, count: int) -> runs_pb2.EventsResponse:
    return runs_pb2.EventsResponse(data=[_event(number) for number in range(first, first + count)])


def _event(number: int) -> run_pb2.Event:
    payload = f'{{"number":{number}}}'
    return run_pb2.Event(event_id=number + 1, event_type=EVENT_TYPE, payload_json=payload, created_at=_SOME_TIME)


async def serve(address: str, answer: Path, events: int) -> None:
    """Until it is killed."""
    server = grpc.aio.server()
    sample = runs_pb2.CreateRunResponse.FromString(answer.read_bytes())
    runs_pb2_grpc.add_RunsServicer_to_server(Noop(sample, events), server)  # type: ignore[abstract]
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
