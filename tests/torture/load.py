"""The load: creates, repeats, follows, cancels and retries runs, whatever becomes of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import grpc
from runsd_client import AsyncRunsClient, NewRun, RetryPolicy, RunsError
from runsd_client.proto import runs_pb2_grpc, schedules_pb2_grpc

from tests.torture.answering import answer_flow
from tests.torture.plan import FlowSpec, Wish, wish
from tests.torture.scheduling import Scheduling
from tests.torture.subscribers import follow_by_client, follow_raw, watch_lifecycles, watch_raw
from tests.torture.witness import Cancelled, Created, Retried, Witness

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

CREATORS = 6
PATIENT = RetryPolicy(retries=1_000_000, initial_seconds=0.05, max_seconds=0.2)
# More is not started before some have ended, so that a slow machine is not buried.
MOST_EXECUTING = 40
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.use_local_subchannel_pool", 1),
)


@asynccontextmanager
async def running_load(address: str, seed: int, witness: Witness) -> AsyncIterator[Load]:
    async with (
        AsyncRunsClient(address, retry=PATIENT, on_retry=lambda error, _: _count(witness, error)) as client,
        grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel,
        asyncio.TaskGroup() as group,
    ):
        stub: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        scheduling = Scheduling(schedules_pb2_grpc.SchedulesStub(channel), stub, witness, seed)
        load = Load(client, stub, scheduling, witness, group)
        load.begin(seed)
        yield load
        load.end()


def _count(witness: Witness, error: RunsError) -> None:
    witness.failures[f"call: {error.code}"] += 1


class Load:
    def __init__(
        self,
        client: AsyncRunsClient,
        stub: RunsAsyncStub,
        scheduling: Scheduling,
        witness: Witness,
        group: asyncio.TaskGroup,
    ) -> None:
        """`group` owns all that is done."""
        self._client = client
        self._stub = stub
        self._scheduling = scheduling
        self._witness = witness
        self._group = group
        self._stopping = asyncio.Event()
        self._creating: list[asyncio.Task[None]] = []
        self._work: set[asyncio.Task[None]] = set()
        self._watching: list[asyncio.Task[None]] = []

    def begin(self, seed: int) -> None:
        watchers = (watch_raw(self._stub, self._witness), watch_lifecycles(self._client, self._witness))
        self._watching = [self._group.create_task(self._told(watcher)) for watcher in watchers]
        self._do(self._scheduling.run())
        self._creating = [self._group.create_task(self._create_many(seed, number)) for number in range(CREATORS)]

    async def finish(self, seconds: float) -> None:
        """No more runs; until all have ended and all that was to be done with them is. Raises TimeoutError."""
        self._stopping.set()
        self._scheduling.finish()
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._creating)
            while self._work:
                await asyncio.wait(self._work)
            await self._witness.until(lambda: not self._witness.executing)

    def end(self) -> None:
        for task in (*self._creating, *self._work, *self._watching):
            task.cancel()

    def _do(self, work: Awaitable[None]) -> None:
        task = self._group.create_task(self._told(work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _told(self, work: Awaitable[None]) -> None:
        """What the client does not try again, or gives up on, should not have happened."""
        try:
            await work
        except RunsError as error:
            self._witness.complaints.append(f"a call failed: {error.code} {error}")

    async def _create_many(self, seed: int, number: int) -> None:
        random = Random(f"{seed}/{number}")
        count = 0
        while not self._stopping.is_set():
            count += 1
            await self._told(self._create(wish(random, f"{number}-{count}"), random))
            await asyncio.sleep(random.uniform(0.1, 0.7))
            await self._witness.until(lambda: len(self._witness.executing) <= MOST_EXECUTING)

    async def _create(self, wanted: Wish, random: Random) -> None:
        self._witness.wishes[wanted.key] = wanted
        run_ids = await asyncio.gather(*(self._send(wanted) for _ in range(wanted.sent_at_once)))
        run_id = run_ids[0]
        if wanted.followed_raw:
            self._do(follow_raw(self._stub, run_id, self._witness, random))
        if wanted.followed_by_client:
            self._do(follow_by_client(self._client, run_id, self._witness))
        if wanted.sent_again:
            self._do(self._send_again(wanted, random.uniform(0, 3)))
        if wanted.cancel_after_seconds is not None:
            self._do(self._cancel(run_id, wanted.cancel_after_seconds))
        if wanted.retried:
            self._do(self._retry(run_id, wanted))
        if isinstance(wanted.spec, FlowSpec):
            self._do(answer_flow(self._client, run_id, wanted, self._witness))

    async def _send(self, wanted: Wish) -> str:
        acknowledged = self._witness.created.setdefault(wanted.key, [])
        is_again = bool(acknowledged)
        new = NewRun(
            wanted.target,
            input=wanted.spec.document(),
            idempotency_key=wanted.key,
            backoff_limit=wanted.backoff_limit,
        )
        answer = await self._client.create(new)
        acknowledged.append(Created(answer.run.run_id, answer.duplicate, is_again))
        self._witness.made(answer.run.run_id)
        return answer.run.run_id

    async def _send_again(self, wanted: Wish, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        await self._send(wanted)

    async def _cancel(self, run_id: str, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        answer = await self._client.cancel(run_id, reason="torture")
        self._witness.cancelled.append(Cancelled(run_id, answer.cancelled, answer.run.status.value))

    async def _retry(self, run_id: str, wanted: Wish) -> None:
        """As soon as the run has failed or was cancelled, once more under a key of its own."""
        run = await self._client.wait(run_id)
        if run.status.value == "completed":
            return
        key = f"{wanted.key}-again"
        self._witness.wishes[key] = wanted
        # What compensations have undone cannot be gone on with.
        goes_on = isinstance(wanted.spec, FlowSpec) and not wanted.spec.undo
        answer = await self._client.retry(run_id, idempotency_key=key, from_failed_step=goes_on)
        self._witness.retried.append(Retried(run_id, answer.run.run_id, key, goes_on))
        self._witness.made(answer.run.run_id)
        if isinstance(wanted.spec, FlowSpec):
            await answer_flow(self._client, answer.run.run_id, wanted, self._witness)
