"""Many subscribers of one run, each on a connection of its own, each checking all that it gets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import TYPE_CHECKING

import grpc
from runsd_client.proto import run_pb2, runs_pb2, runs_pb2_grpc

from tests.bench.server import CHANNEL_OPTIONS
from tests.bench.watching import COMPLETED

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1))


class Checked:
    """A run's events as one subscriber got them."""

    def __init__(self) -> None:
        self._last_id = 0
        self._last_type = ""
        self._digest = hashlib.sha256()
        self._has_gaps = False

    def add(self, event: run_pb2.Event) -> None:
        self._has_gaps |= event.event_id != self._last_id + 1
        self._last_id, self._last_type = event.event_id, event.event_type
        if event.event_type == "log":
            payload = json.loads(event.payload_json)
            if payload["stream"] == "stdout":
                self._digest.update(payload["text"].encode())

    def is_intact(self, sha256: str) -> bool:
        return not self._has_gaps and self._last_type == COMPLETED and self._digest.hexdigest() == sha256


async def follow_all(address: str, run_id: str, subscribers: int, sha256: str) -> tuple[int, float]:
    """How many saw events 1..n and output of that digest, and when the last was done (Unix time)."""
    intact = await asyncio.gather(*(_follow(address, run_id, sha256) for _ in range(subscribers)))
    return sum(intact), time.time()


async def _follow(address: str, run_id: str, sha256: str) -> bool:
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        checked = Checked()
        stub: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        # So many connections at one time may take longer than gRPC gives the first attempt at one.
        async for page in stub.Events(runs_pb2.EventsRequest(run_id=run_id, follow=True), wait_for_ready=True):
            for event in page.data:
                checked.add(event)
        return checked.is_intact(sha256)
