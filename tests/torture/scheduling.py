"""Makes the schedules, disturbs some of them, and at the end waits until nothing more of them is due."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

import grpc
from runsd_client.proto import run_pb2, runs_pb2
from runsd_client.proto import schedules_pb2 as pb

from tests.torture.schedule_witness import Backfill, ScheduleWitness, now
from tests.torture.schedules import SECOND, moment, wishes
from tests.torture.witness import Witness

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub
    from runsd_client.proto.schedules_pb2_grpc import SchedulesAsyncStub

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

PAUSE_SECONDS = 0.1
MOST_MADE_UP_FOR = 8
PAGE = 1000


class Scheduling:
    """One caller a schedule, so that its changes are in order."""

    def __init__(self, schedules: SchedulesAsyncStub, runs: RunsAsyncStub, witness: Witness, seed: int) -> None:
        self._stub = schedules
        self._runs = runs
        self._witness = witness
        self._stopping = asyncio.Event()
        self._callers = [
            _Caller(self, told, Random(f"{seed}/{told.wish.schedule_id}")) for told in map(ScheduleWitness, wishes())
        ]
        witness.schedules = [caller.told for caller in self._callers]

    async def run(self) -> None:
        """Until `finish`, and then until their runs have ended."""
        await asyncio.gather(*(caller.run(self._stopping) for caller in self._callers))

    def finish(self) -> None:
        self._stopping.set()

    def complain(self, what: str) -> None:
        self._witness.complaints.append(what)

    @property
    def schedules(self) -> SchedulesAsyncStub:
        return self._stub

    @property
    def runs(self) -> RunsAsyncStub:
        return self._runs

    async def insist(self, call: Callable[[RequestT], Awaitable[AnswerT]], request: RequestT) -> tuple[AnswerT, int]:
        """The answer, and how often the daemon was gone before it gave one."""
        failures = 0
        while True:
            try:
                return await call(request), failures
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                self._witness.failures[f"schedules: {error.code().name}"] += 1
            failures += 1
            await asyncio.sleep(PAUSE_SECONDS)


class _Caller:
    def __init__(self, scheduling: Scheduling, told: ScheduleWitness, random: Random) -> None:
        self.told = told
        self._scheduling = scheduling
        self._insist = scheduling.insist
        self._stub = scheduling.schedules
        self._id = told.wish.schedule_id
        self._random = random
        self._count = 0

    async def run(self, stopping: asyncio.Event) -> None:
        await self._create("created", now())
        while not await _is_set_within(stopping, self._random.uniform(0.3, 2.5)):
            await self._do_something()
        await self._end()

    async def _do_something(self) -> None:
        actions = [self._trigger, self._retry]
        if self.told.wish.is_disturbed:
            actions += [self._pause_and_resume, self._pause_and_resume, self._backfill, self._update, self._replace]
        await self._random.choice(actions)()

    async def _create(self, kind: str, sent_at: int) -> None:
        request = pb.CreateScheduleRequest(schedule_id=self._id, spec=self.told.wish.spec())
        answer, _ = await self._insist(self._stub.CreateSchedule, request)
        self.told.changed(kind, sent_at, _micros(answer.schedule.created_at), is_in_force=True)

    async def _pause_and_resume(self) -> None:
        sent_at = now()
        paused, _ = await self._insist(self._stub.PauseSchedule, pb.PauseScheduleRequest(schedule_id=self._id))
        self.told.changed("paused", sent_at, _micros(paused.schedule.updated_at), is_in_force=False)
        await asyncio.sleep(self._random.uniform(0, 2.5))
        if self._random.random() < 0.3:
            await self._random.choice((self._trigger, self._backfill))()
        sent_at = now()
        resumed, _ = await self._insist(self._stub.ResumeSchedule, pb.ResumeScheduleRequest(schedule_id=self._id))
        self.told.changed("resumed", sent_at, _micros(resumed.schedule.updated_at), is_in_force=True)

    async def _trigger(self) -> None:
        """Some twice at once."""
        self._count += 1
        key = f"{self._id} {self._count}"
        request = pb.TriggerScheduleRequest(schedule_id=self._id, idempotency_key=key)
        times = self._random.choice((1, 2))
        answers = await asyncio.gather(*(self._insist(self._stub.TriggerSchedule, request) for _ in range(times)))
        # One whose first answer was lost is a duplicate of itself.
        self.told.triggered[key] = [(answer.run.run_id, answer.duplicate) for answer, _ in answers]

    async def _backfill(self) -> None:
        sent_at = now()
        since = sent_at - round(self._random.uniform(1, MOST_MADE_UP_FOR) * SECOND)
        request = pb.BackfillScheduleRequest(
            schedule_id=self._id, due_from=moment(since), due_before=moment(sent_at - SECOND // 10)
        )
        answers = [(await self._insist(self._stub.BackfillSchedule, request))[0] for _ in range(2)]
        named = [{_micros(one.scheduled_for): one.run_id for one in answer.data} for answer in answers]
        self.told.backfills.append(Backfill(sent_at, now(), named))

    async def _update(self) -> None:
        """With an etag, which a change whose answer was lost has changed already."""
        self._count += 1
        current, _ = await self._insist(self._stub.GetSchedule, pb.GetScheduleRequest(schedule_id=self._id))
        spec = self.told.wish.spec(description=f"change {self._count}")
        request = pb.UpdateScheduleRequest(schedule_id=self._id, spec=spec, etag=current.schedule.etag)
        sent_at = now()
        try:
            schedule = (await self._insist(self._stub.UpdateSchedule, request))[0].schedule
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise
            found, _ = await self._insist(self._stub.GetSchedule, pb.GetScheduleRequest(schedule_id=self._id))
            schedule = found.schedule
        if schedule.spec.description != spec.description:
            self._complain(f"it was changed to {spec.description!r} and is {schedule.spec.description!r}")
        self.told.changed("updated", sent_at, _micros(schedule.updated_at), is_in_force=True)

    async def _replace(self) -> None:
        """Deleted and made again."""
        sent_at = now()
        try:
            await self._insist(self._stub.DeleteSchedule, pb.DeleteScheduleRequest(schedule_id=self._id))
        except grpc.aio.AioRpcError as error:
            # The answer to the one that did it was lost.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self._create("replaced", sent_at)

    async def _retry(self) -> None:
        failed = [run_pb2.RUN_STATUS_FAILED]
        request = runs_pb2.ListRunsRequest(schedule_id=self._id, statuses=failed, limit=1)
        page, _ = await self._insist(self._scheduling.runs.ListRuns, request)
        for run in page.data:
            self._count += 1
            key = f"{self._id} {self._count}"
            retry = runs_pb2.RetryRunRequest(run_id=run.run_id, idempotency_key=key)
            answer, _ = await self._insist(self._scheduling.runs.RetryRun, retry)
            self.told.retried.append((run.run_id, answer.run.run_id))

    async def _end(self) -> None:
        """Nothing is due any more once all that was due has been decided."""
        await self._until(lambda schedule: all(_micros(one.at) > now() for one in schedule.next))
        sent_at = now()
        request = pb.UpdateScheduleRequest(schedule_id=self._id, spec=self.told.wish.spec(end_at=sent_at))
        answer, _ = await self._insist(self._stub.UpdateSchedule, request)
        self.told.changed("ended", sent_at, _micros(answer.schedule.updated_at), is_in_force=False)
        await self._until(lambda schedule: not schedule.active_runs and not schedule.queued)
        self.told.last = await self._current()
        await self._list()

    async def _until(self, condition: Callable[[pb.Schedule], bool]) -> None:
        while True:
            if condition(await self._current()):
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _current(self) -> pb.Schedule:
        answer, _ = await self._insist(self._stub.GetSchedule, pb.GetScheduleRequest(schedule_id=self._id))
        return answer.schedule

    async def _list(self) -> None:
        request = runs_pb2.ListRunsRequest(schedule_id=self._id, limit=PAGE)
        while True:
            page, _ = await self._insist(self._scheduling.runs.ListRuns, request)
            self.told.runs.extend(page.data)
            if not page.page_info.next:
                return
            request.page_token = page.page_info.next

    def _complain(self, what: str) -> None:
        self._scheduling.complain(f"schedule {self._id}: {what}")


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _micros(stamp: object) -> int:
    return stamp.ToMicroseconds()  # type: ignore[attr-defined, no-any-return]
