"""Subscribers that note all they see, across their reconnects and the daemon's restarts.

The raw ones use the stubs and take what comes as it comes, duplicates included; the others are what a
user of the client library has.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from random import Random
from typing import TYPE_CHECKING

import grpc
from runsd_client import AsyncRunsClient, WatchedEvent
from runsd_client.proto import run_pb2, runs_pb2

from tests.torture.witness import Following, Seen, Watched, Witness, canonical, exact

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

TERMINAL = frozenset({"run.completed", "run.failed", "run.cancelled"})
LIFECYCLE = "run.*"
PAUSE_SECONDS = 0.05
# What a killed daemon, or a subscriber that gives up its stream, looks like.
_EXPECTED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def _seen(event: run_pb2.Event) -> Seen:
    return Seen(event.event_id, event.event_type, exact(event.payload_json))


def _may_go_on(witness: Witness, error: grpc.aio.AioRpcError, who: str) -> bool:
    witness.failures[f"{who}: {error.code().name}"] += 1
    if error.code() in _EXPECTED:
        return True
    witness.complaints.append(f"{who} got {error.code().name}: {error.details()}")
    return False


async def follow_raw(stub: RunsAsyncStub, run_id: str, witness: Witness, random: Random) -> None:
    """Until the terminal event. Now and then gives up a stream by itself, and goes on from its cursor."""
    following = Following(run_id, is_exact=True)
    witness.followings.append(following)
    seen = following.seen
    while not (seen and seen[-1].event_type in TERMINAL):
        after = seen[-1].event_id if seen else 0
        request = runs_pb2.EventsRequest(run_id=run_id, after_event_id=after, follow=True)
        try:
            async for page in stub.Events(request, timeout=random.choice((None, None, 0.05, 0.5))):
                seen.extend(map(_seen, page.data))
            if not (seen and seen[-1].event_type in TERMINAL):
                witness.complaints.append(f"{run_id}: a stream ended well without a terminal event")
        except grpc.aio.AioRpcError as error:
            if not _may_go_on(witness, error, "follow"):
                return
            await asyncio.sleep(PAUSE_SECONDS)


async def follow_by_client(client: AsyncRunsClient, run_id: str, witness: Witness) -> None:
    following = Following(run_id, is_exact=False)
    witness.followings.append(following)
    async with aclosing(client.follow(run_id)) as events:
        async for event in events:
            following.seen.append(Seen(event.event_id, event.event_type, canonical(event.payload)))


async def watch_raw(stub: RunsAsyncStub, witness: Witness) -> None:
    """The whole project from its first event, until cancelled; tells the load which runs have ended."""
    position = 0
    while True:
        try:
            async for page in stub.WatchEvents(runs_pb2.WatchEventsRequest(after_position=position)):
                for message in page.data:
                    seen = _seen(message.event)
                    witness.saw(Watched(message.position, message.run_id, seen), seen.event_type in TERMINAL)
                position = page.position
        except grpc.aio.AioRpcError as error:
            if not _may_go_on(witness, error, "watch"):
                return
        await asyncio.sleep(PAUSE_SECONDS)


async def watch_lifecycles(client: AsyncRunsClient, witness: Witness) -> None:
    async with aclosing(client.watch(after_position=0, event_types=[LIFECYCLE])) as events:
        async for event in events:
            witness.saw_lifecycle(_watched(event))


def _watched(event: WatchedEvent) -> Watched:
    seen = Seen(event.event.event_id, event.event.event_type, canonical(event.event.payload))
    return Watched(event.position, event.run_id, seen)
