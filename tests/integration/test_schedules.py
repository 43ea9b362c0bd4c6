"""Schedules of a running daemon: what they make, when they do not, and what can be done to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client import (
    AlreadyExistsError,
    AsyncRunsClient,
    ConflictError,
    Event,
    InvalidRequestError,
    NotFoundError,
    Run,
    RunStatus,
    TriggerKind,
    WatchedEvent,
)
from runsd_client.proto import schedules_pb2, schedules_pb2_grpc

from tests.integration.daemon import Daemon

SECOND = timedelta(seconds=1)
GATED = "task:until-released"


async def watched(client: AsyncRunsClient, *event_types: str, after: int) -> AsyncGenerator[WatchedEvent, None]:
    async with aclosing(client.watch(after_position=after, event_types=event_types)) as events:
        async for event in events:
            yield event


async def made_by(client: AsyncRunsClient, schedule_id: str, count: int) -> list[Run]:
    """The first `count` runs of the schedule, as soon as they are there."""
    found: list[str] = []
    async with aclosing(watched(client, "run.created", after=0)) as events:
        async for event in events:
            if event.event.payload.get("schedule_id") == schedule_id:
                found.append(event.run_id)
            if len(found) == count:
                break
    return [await client.get(run_id) for run_id in found]


async def ticks(client: AsyncRunsClient, schedule_id: str, count: int) -> None:
    """Until that many seconds have been noticed, by the runs of a schedule of every second."""
    await client.schedules.create(schedule_id, "task:quick", every=1)
    await made_by(client, schedule_id, count)
    await client.schedules.delete(schedule_id)


async def terminal(client: AsyncRunsClient, run: Run) -> Event:
    return [event async for event in client.follow(run.run_id)][-1]


async def test_each_occurrence_has_one_run(client: AsyncRunsClient) -> None:
    answer = await client.schedules.create(
        "seconds", "task:echo", every=1, input={"n": 2**60}, run_name="tick", metadata={"of": "a test"}, priority=3
    )
    assert not answer.duplicate
    runs = await made_by(client, "seconds", 3)
    await client.schedules.pause("seconds", reason="enough")
    first = runs[0].scheduled_for
    assert first is not None and first.microsecond == 0
    assert [run.scheduled_for for run in runs] == [first, first + SECOND, first + 2 * SECOND]
    for run in runs:
        assert run.created_at is not None and run.scheduled_for is not None and run.created_at >= run.scheduled_for
        assert (run.schedule_id, run.trigger_kind, run.name) == ("seconds", TriggerKind.SCHEDULE, "tick")
        assert (run.input, run.metadata, run.priority) == ({"n": 2**60}, {"of": "a test"}, 3)
    listed = [run.run_id async for run in client.list_all(schedule_id="seconds")]
    assert listed[::-1][:3] == [run.run_id for run in runs]
    schedule = await client.schedules.get("seconds")
    assert (schedule.paused, schedule.pause_reason, schedule.next) == (True, "enough", ())
    assert schedule.runs_made == len(listed) and schedule.last_run_id == listed[0]


async def test_paused_makes_none_and_resumed_goes_on(client: AsyncRunsClient) -> None:
    await client.schedules.create("paused", "task:quick", every=1, paused=True)
    await ticks(client, "paused-clock", 2)
    assert (await client.schedules.get("paused")).runs_made == 0
    resumed = await client.schedules.resume("paused")
    (run,) = await made_by(client, "paused", 1)
    assert resumed.updated_at is not None and run.scheduled_for is not None
    assert run.scheduled_for > resumed.updated_at, "nothing is made up for"
    await client.schedules.delete("paused")


async def test_forbid_skips_and_says_so(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await client.schedules.create("forbid", GATED, every=1, input=str(gate), concurrency_policy="forbid")
    (run,) = await made_by(client, "forbid", 1)
    await ticks(client, "forbid-clock", 3)
    schedule = await client.schedules.get("forbid")
    assert (schedule.runs_made, schedule.active_runs) == (1, 1)
    assert schedule.skipped >= 2 and schedule.skips[0].reason == "an earlier run had not ended"
    assert schedule.skips[0].count == schedule.skipped, "those in a row are told together"
    gate.touch()
    await made_by(client, "forbid", 2)
    await client.schedules.delete("forbid")
    assert (await terminal(client, run)).event_type == "run.completed"


async def test_queue_starts_each_when_the_earlier_has_ended(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await client.schedules.create("queue", GATED, every=1, input=str(gate), concurrency_policy="queue")
    await made_by(client, "queue", 1)
    await ticks(client, "queue-clock", 3)
    schedule = await client.schedules.get("queue")
    assert (schedule.runs_made, schedule.active_runs) == (1, 1) and schedule.queued >= 2
    gate.touch()
    runs = await made_by(client, "queue", 4)
    await client.schedules.delete("queue")
    moments = [run.scheduled_for for run in runs]
    assert moments[0] is not None
    assert moments == [moments[0] + n * SECOND for n in range(4)]
    for earlier, later in pairwise(runs):
        ended = (await client.wait(earlier.run_id)).completed_at
        assert ended is not None and later.created_at is not None and later.created_at >= ended


async def test_queue_is_dropped_where_max_runs_has_become_less(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await client.schedules.create("fewer", GATED, every=1, input=str(gate), concurrency_policy="queue")
    (run,) = await made_by(client, "fewer", 1)
    await ticks(client, "fewer-clock", 3)
    schedule = await client.schedules.update("fewer", max_runs=1)
    assert schedule.queued >= 2 and schedule.next == ()
    gate.touch()
    await client.wait(run.run_id)
    await ticks(client, "fewer-clock-again", 2)
    schedule = await client.schedules.get("fewer")
    assert (schedule.runs_made, schedule.queued) == (1, 0)


async def test_replace_cancels_what_is_there(client: AsyncRunsClient, tmp_path: Path) -> None:
    await client.schedules.create("replace", GATED, every=1, input=str(tmp_path / "x"), concurrency_policy="replace")
    first, second = await made_by(client, "replace", 2)
    assert (await terminal(client, first)).event_type == "run.cancelled"
    await client.schedules.delete("replace")
    await client.cancel(second.run_id)
    events = [event async for event in client.replay(first.run_id)]
    (asked,) = [event for event in events if event.event_type == "run.cancel_requested"]
    assert "replaced by the run of" in asked.payload["reason"]


async def test_ends_after_max_runs(client: AsyncRunsClient) -> None:
    await client.schedules.create("twice", "task:quick", every=1, max_runs=2)
    await made_by(client, "twice", 2)
    await ticks(client, "twice-clock", 2)
    schedule = await client.schedules.get("twice")
    assert (schedule.runs_made, schedule.next) == (2, ())


async def test_once(client: AsyncRunsClient) -> None:
    at = datetime.now(UTC) + SECOND
    await client.schedules.create("once", "task:quick", at=at)
    (run,) = await made_by(client, "once", 1)
    assert run.scheduled_for == at
    assert (await client.schedules.get("once")).next == ()


async def test_jitter_starts_later_by_the_same_amount(client: AsyncRunsClient) -> None:
    await client.schedules.create("jitter", "task:quick", every=1, jitter="1h")
    run, *_ = await made_by(client, "jitter", 1)
    await client.schedules.delete("jitter")
    assert run.scheduled_for is not None and run.start_after is not None
    assert run.scheduled_for <= run.start_after <= run.scheduled_for + timedelta(hours=1)
    async for left in client.list_all(schedule_id="jitter"):
        await client.cancel(left.run_id)


async def test_trigger_makes_one_run_a_key(client: AsyncRunsClient) -> None:
    await client.schedules.create("by-hand", "task:echo", cron="0 0 1 1 *", input=[1], paused=True)
    answer = await client.schedules.trigger("by-hand", run_name="now", idempotency_key="trigger-once")
    await client.schedules.update("by-hand", input=[2])
    again = await client.schedules.trigger("by-hand", run_name="now", idempotency_key="trigger-once")
    assert again.duplicate and again.run.run_id == answer.run.run_id, "also when the spec has changed"
    with pytest.raises(AlreadyExistsError):
        await client.schedules.trigger("by-hand", run_name="another", idempotency_key="trigger-once")
    run = await client.wait(answer.run.run_id)
    assert (run.trigger_kind, run.schedule_id, run.scheduled_for) == (TriggerKind.MANUAL, "by-hand", None)
    assert (run.name, run.output) == ("now", [1])
    schedule = await client.schedules.get("by-hand")
    assert (schedule.runs_made, schedule.last_run_id, schedule.last_success_run_id) == (0, run.run_id, run.run_id)


async def test_backfill_makes_each_once(client: AsyncRunsClient) -> None:
    await client.schedules.create("past", "task:quick", cron="0 * * * *", timezone="Europe/Stockholm", paused=True)
    start = datetime(2026, 3, 29, tzinfo=UTC)
    made = await client.schedules.backfill("past", start, start + timedelta(hours=3))
    assert [one.scheduled_for for one in made] == [start + timedelta(hours=n) for n in range(3)]
    assert not any(one.duplicate for one in made)
    again = await client.schedules.backfill("past", start - timedelta(hours=1), start + timedelta(hours=3))
    assert [one.duplicate for one in again] == [False, True, True, True]
    assert [one.run_id for one in again[1:]] == [one.run_id for one in made]
    run = await client.wait(made[1].run_id)
    assert (run.status, run.scheduled_for) == (RunStatus.COMPLETED, made[1].scheduled_for)
    assert run.trigger_kind is TriggerKind.SCHEDULE
    with pytest.raises(InvalidRequestError, match="more than 1000"):
        await client.schedules.backfill("past", datetime(2020, 1, 1, tzinfo=UTC), start)
    with pytest.raises(InvalidRequestError, match="not be later than now"):
        await client.schedules.backfill("past", start, datetime.now(UTC) + timedelta(days=1))


async def test_backfill_of_a_year_of_three_digits(client: AsyncRunsClient) -> None:
    await client.schedules.create("ancient", "task:quick", every="1h", paused=True)
    start = datetime(900, 1, 1, tzinfo=UTC)
    (made,) = await client.schedules.backfill("ancient", start, start + timedelta(hours=1))
    assert (await client.wait(made.run_id)).scheduled_for == start


async def test_backfilled_runs_of_forbid_execute_one_at_a_time(client: AsyncRunsClient) -> None:
    await client.schedules.create("alone", "task:quick", every="1h", concurrency_policy="forbid", paused=True)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = await client.schedules.backfill("alone", start, start + timedelta(hours=4))
    runs = [await client.wait(one.run_id) for one in made]
    for earlier, later in pairwise(runs):
        assert earlier.completed_at is not None and later.started_at is not None
        assert earlier.completed_at <= later.started_at


async def test_create_again_and_otherwise(client: AsyncRunsClient) -> None:
    spec: dict[str, Any] = {"cron": "30 2 * * mon-fri", "timezone": "Europe/Stockholm"}
    await client.schedules.create("again", "task:quick", **spec)
    assert (await client.schedules.create("again", "task:quick", **spec)).duplicate
    with pytest.raises(AlreadyExistsError, match="another spec"):
        await client.schedules.create("again", "task:quick", every=60)
    await client.schedules.delete("again")
    back = await client.schedules.create("again", "task:quick", every=60)
    assert not back.duplicate and back.schedule.runs_made == 0
    await client.schedules.delete("again")
    with pytest.raises(NotFoundError):
        await client.schedules.get("again")


async def test_update_of_what_has_changed_is_refused(client: AsyncRunsClient) -> None:
    read = (await client.schedules.create("changed", "task:quick", cron="0 4 * * *")).schedule
    await client.schedules.update("changed", etag=read.etag, cron="0 5 * * *")
    with pytest.raises(ConflictError, match="read it again"):
        await client.schedules.update("changed", etag=read.etag, cron="0 6 * * *")
    schedule = await client.schedules.get("changed")
    assert (schedule.spec.cron, [occurrence.at.hour for occurrence in schedule.next]) == ("0 5 * * *", [5] * 5)


async def test_every_fault_is_named_at_once(client: AsyncRunsClient) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await client.schedules.create("x", "task:quick", cron="61 * * * *", timezone="Stockholm", every=5)
    fields = {violation.field for violation in refused.value.violations}
    assert fields == {"spec.timetable.cron", "spec.timetable.timezone", "spec.timetable.every_seconds"}
    with pytest.raises(InvalidRequestError) as refused:
        await client.schedules.create("not an id", "quick", every=5, priority=5000, jitter="30d")
    fields = {violation.field for violation in refused.value.violations}
    assert fields == {"schedule_id", "spec.target", "spec.priority", "spec.jitter_seconds"}
    with pytest.raises(NotFoundError, match="task:quick"):
        await client.schedules.create("x", "task:quik", every=5)
    with pytest.raises(InvalidRequestError, match=r"spec\.input_json"):
        await client.schedules.create("x", "task:checked", every=5, input={"rows": "many"})
    with pytest.raises(NotFoundError):
        await client.schedules.get("x")
    with pytest.raises(InvalidRequestError, match="run_name"):
        await client.schedules.trigger("seconds", run_name="x" * 201)


def test_a_number_that_names_nothing_is_told_what_would(daemon: Daemon) -> None:
    spec = schedules_pb2.ScheduleSpec(target="task:quick", concurrency_policy=99, catch_up=98)  # type: ignore[arg-type]
    spec.timetable.every_seconds = 60
    request = schedules_pb2.CreateScheduleRequest(schedule_id="x", spec=spec)
    with grpc.insecure_channel(daemon.address) as channel, pytest.raises(grpc.RpcError) as refused:
        schedules_pb2_grpc.SchedulesStub(channel).CreateSchedule(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    said = str(refused.value.details())
    assert "99 is no policy; give 1 for Allow, 2 for Forbid, 3 for Replace, 4 for Queue" in said
    assert "98 is no way to catch up; give 1 for none, 2 for latest, 3 for all" in said


YEAR_1 = Timestamp(seconds=-62_135_596_800)
YEAR_9999 = Timestamp(seconds=253_402_300_799)


@pytest.mark.parametrize(
    ("timetable", "said"),
    [
        ({"at": Timestamp(seconds=1, nanos=-1)}, "timetable.at: is no moment"),
        ({"at": Timestamp(seconds=10**18), "start_at": YEAR_1}, "timetable.at: is no moment"),
        ({"every_seconds": 60, "anchor": Timestamp(seconds=-(10**18))}, "timetable.anchor: is no moment"),
        ({"at": YEAR_1}, "timetable.at: out of the range"),
        ({"at": YEAR_9999}, "timetable.at: out of the range"),
        ({"every_seconds": 60, "start_at": YEAR_9999}, "timetable.start_at: out of the range"),
        ({"every_seconds": 60, "end_at": YEAR_1}, "timetable.end_at: out of the range"),
        ({"every_seconds": 1e20}, "timetable.every_seconds: 1e+20 s is no interval"),
    ],
)
def test_a_moment_that_cannot_be_is_refused_in_its_field(daemon: Daemon, timetable: dict[str, Any], said: str) -> None:
    with grpc.insecure_channel(daemon.address) as channel, pytest.raises(grpc.RpcError) as refused:
        when = schedules_pb2.Timetable(**timetable)
        schedules_pb2_grpc.SchedulesStub(channel).PreviewSchedule(schedules_pb2.PreviewScheduleRequest(timetable=when))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith(said)


async def test_pages_of_schedules(client: AsyncRunsClient) -> None:
    names = [f"page/{n}" for n in range(5)]
    for name in reversed(names):
        await client.schedules.create(name, "task:quick", cron="0 0 * * *", paused=True)
    page = await client.schedules.list(limit=2)
    assert len(page.data) == 2 and page.page_info.next
    listed = [schedule.schedule_id async for schedule in client.schedules.list_all(limit=2)]
    assert [name for name in listed if name in names] == names and listed == sorted(listed)


@pytest.mark.parametrize("token", ["nonsense", "page", "cGFnZS8x", "cGFnZS8x\n", "é", "YXJ0aWZhY3RzOmE="])
async def test_strange_tokens_are_refused(client: AsyncRunsClient, token: str) -> None:
    with pytest.raises(InvalidRequestError, match="page_token: is not a token of this list"):
        await client.schedules.list(page_token=token)


async def test_health_is_told_as_it_changes(client: AsyncRunsClient) -> None:
    async with aclosing(watched(client, "schedule.*", after=0)) as events:
        await client.schedules.create("health", "task:exit-status", every=1, input=1)
        failing = await anext(events)
        assert (failing.schedule_id, failing.run_id, failing.target) == ("health", "", "task:exit-status")
        payload = dict(failing.event.payload)
        assert (await client.get(payload.pop("run_id"))).status is RunStatus.FAILED
        assert payload == {"schedule_id": "health", "health": "failing", "was": "healthy"}
        await client.schedules.update("health", input=0)
        assert (await anext(events)).event.payload["health"] == "healthy"
        await client.schedules.update("health", cron="0 0 1 1 *", max_staleness_seconds=1)
        stale = await anext(events)
        assert (stale.event.payload["health"], stale.event.payload["was"]) == ("stale", "healthy")
        assert (await client.schedules.get("health")).health == "stale"
        run = (await client.schedules.trigger("health")).run
        healthy = await anext(events)
        assert (healthy.event.payload["health"], healthy.event.event_id) == ("healthy", 4)
        assert healthy.position > stale.position
    schedule = await client.schedules.get("health")
    assert schedule.last_success_run_id == run.run_id
    await client.schedules.delete("health")


async def test_preview_tells_why_a_time_is_shifted(client: AsyncRunsClient) -> None:
    found = await client.schedules.preview(
        cron="30 2 * * *", timezone="Europe/Stockholm", after=datetime(2027, 3, 26, 23, tzinfo=UTC), count=3
    )
    assert [occurrence.local for occurrence in found] == [
        "2027-03-27T02:30:00+01:00",
        "2027-03-28T03:00:00+02:00",
        "2027-03-29T02:30:00+02:00",
    ]
    assert [bool(occurrence.note) for occurrence in found] == [False, True, False]
    assert "does not exist" in found[1].note


async def test_a_retry_belongs_to_the_schedule(client: AsyncRunsClient) -> None:
    await client.schedules.create("retried", "task:exit-status", cron="0 0 1 1 *", input=1)
    failed = await client.wait((await client.schedules.trigger("retried")).run.run_id)
    assert (await client.schedules.get("retried")).health == "failing"
    again = (await client.retry(failed.run_id)).run
    assert again.schedule_id == "retried"
    await client.wait(again.run_id)
    assert (await client.schedules.get("retried")).active_runs == 0
