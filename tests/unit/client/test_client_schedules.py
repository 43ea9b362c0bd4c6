"""Schedules by both clients: what is sent, how it is read, what an update keeps, and what is tried again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from runsd_client import (
    AlreadyExistsError,
    AsyncRunsClient,
    CatchUp,
    ConcurrencyPolicy,
    ConflictError,
    DefinitionProblem,
    InvalidRequestError,
    NotFoundError,
    RunsClient,
    Schedule,
    ScheduleHealth,
    ScheduleSpec,
)
from runsd_client.async_schedules import AsyncSchedules
from runsd_client.conversion import read_run, read_watched_event
from runsd_client.durations import seconds
from runsd_client.proto import definitions_pb2, run_pb2, runs_pb2, schedules_pb2
from runsd_client.schedule_conversion import (
    CATCH_UP_NUMBERS,
    HEALTH_NUMBERS,
    POLICY_NUMBERS,
    read_schedule,
    read_spec,
)
from runsd_client.schedule_requests import ScheduleChanges, TimetableOptions, changed_spec, new_spec
from runsd_client.schedules import Schedules

from tests.unit.client.fake_daemon import LOST, Failure, FakeDaemon

NOON = datetime(2027, 3, 28, 12, tzinfo=UTC)


def make(client: RunsClient, **options: Any) -> Schedule:
    return client.schedules.create("nightly", "task:sync", **{"cron": "30 2 * * *", **options}).schedule


def test_both_clients_have_the_same_methods() -> None:
    def public(client: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {
            name: [str(p) for p in inspect.signature(function).parameters.values()]
            for name, function in functions
            if not name.startswith("_")
        }

    assert public(Schedules) == public(AsyncSchedules)
    assert {"create", "backfill", "list_all"} < public(Schedules).keys()


def test_values_have_every_field_of_the_contract() -> None:
    def wire(message: Any) -> set[str]:
        return {field.name.removesuffix("_json") for field in message.DESCRIPTOR.fields}

    assert {field.name for field in fields(Schedule)} == wire(schedules_pb2.Schedule)
    assert {field.name for field in fields(ScheduleSpec)} == (
        wire(schedules_pb2.ScheduleSpec) | wire(schedules_pb2.Timetable) - {"timetable"}
    ) - {"timetable"}
    said = {name.removesuffix("_seconds") for name in ScheduleChanges.__annotations__}
    assert said == {field.name.removesuffix("_seconds") for field in fields(ScheduleSpec)}


def test_enums_agree_with_the_wire() -> None:
    assert set(POLICY_NUMBERS.values()) == set(schedules_pb2.ConcurrencyPolicy.values())
    assert set(CATCH_UP_NUMBERS.values()) == set(schedules_pb2.CatchUp.values())
    assert set(HEALTH_NUMBERS.values()) == set(schedules_pb2.ScheduleHealth.values())


def test_create_sends_all_it_was_given(daemon: FakeDaemon, client: RunsClient) -> None:
    answer = client.schedules.create(
        "imports/nightly",
        "task:sync",
        cron="30 2 * * *",
        timezone="Europe/Stockholm",
        start_at=NOON,
        end_at=NOON + timedelta(days=1),
        description="all of it",
        run_name="Nightly",
        input={"n": 2**70},
        config=[1.5, None],
        metadata={"team": "a"},
        priority=-3,
        timeout_seconds=0,
        backoff_limit=0,
        concurrency_policy="FORBID",
        catch_up=CatchUp.ALL,
        catch_up_window="2h",
        jitter=timedelta(seconds=1.5),
        max_runs=7,
        max_staleness_seconds=90,
        paused=True,
        project="p",
    )
    [sent] = daemon.requests("CreateSchedule")
    assert (sent.project, sent.schedule_id, sent.paused) == ("p", "imports/nightly", True)
    assert sent.spec.timetable.start_at.ToDatetime(tzinfo=UTC) == NOON
    assert (sent.spec.HasField("timeout_seconds"), sent.spec.HasField("backoff_limit")) == (True, True)
    assert sent.spec.input_json == '{"n":1180591620717411303424}'
    assert not answer.duplicate
    assert answer.schedule.spec == ScheduleSpec(
        target="task:sync",
        cron="30 2 * * *",
        timezone="Europe/Stockholm",
        at=None,
        every_seconds=None,
        anchor=None,
        start_at=NOON,
        end_at=NOON + timedelta(days=1),
        description="all of it",
        run_name="Nightly",
        input={"n": 2**70},
        config=[1.5, None],
        metadata={"team": "a"},
        priority=-3,
        timeout_seconds=0,
        backoff_limit=0,
        concurrency_policy=ConcurrencyPolicy.FORBID,
        catch_up=CatchUp.ALL,
        catch_up_window_seconds=7200,
        jitter_seconds=1.5,
        max_runs=7,
        max_staleness_seconds=90,
    )


def test_what_is_not_given_is_not_sent(daemon: FakeDaemon, client: RunsClient) -> None:
    client.schedules.create("hourly", "task:sync", every="1h", description=None)
    [sent] = daemon.requests("CreateSchedule")
    assert {field.name for field, _ in sent.spec.ListFields()} == {"target", "timetable"}
    assert {field.name for field, _ in sent.spec.timetable.ListFields()} == {"every_seconds"}


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"at": datetime(2027, 1, 1)}, "spec.timetable.at", "no time zone"),
        ({"at": "tomorrow"}, "spec.timetable.at", "'tomorrow' is no time; use an aware datetime"),
        ({"every": "10 minutes"}, "spec.timetable.every_seconds", "'10 minutes' is no duration; write it as in 30s"),
        ({"jitter": True}, "spec.jitter_seconds", "True is no duration"),
        ({"catch_up": "some"}, "spec.catch_up", "'some' is not one of none, latest, all"),
        ({"concurrency_policy": "Replaces"}, "spec.concurrency_policy", "not one of Allow, Forbid, Replace, Queue"),
        ({"input": object()}, "spec.input_json", "not JSON serializable"),
        ({"priority": "high"}, "spec.priority", "integer"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    daemon: FakeDaemon, client: RunsClient, options: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.schedules.create("a", "task:a", **options)
    [violation] = caught.value.violations
    assert (violation.field, said in violation.description) == (field, True), violation
    assert daemon.requests("CreateSchedule") == []


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        new_spec("task:a", {"every": "x", "jitter": "y", "catch_up": "z"})
    assert [v.field for v in caught.value.violations] == [
        "spec.jitter_seconds",
        "spec.catch_up",
        "spec.timetable.every_seconds",
    ]


def test_an_unknown_option_is_named_with_the_method(client: RunsClient) -> None:
    make(client)
    with pytest.raises(TypeError, match=r"create\(\) has no option 'nonsense'"):
        client.schedules.create("a", "task:a", nonsense=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"update\(\) has no option 'nonsense'"):
        client.schedules.update("nightly", nonsense=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"preview\(\) has no option 'jitter'"):
        client.schedules.preview(cron="* * * * *", jitter=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("30s", 30), ("1.5h", 5400), ("90", 90), (" 2d ", 172_800), ("250ms", 0.25), ("1w", 604_800), (7, 7)],
)
def test_durations(duration: Any, expected: float) -> None:
    assert seconds(duration) == expected
    assert seconds(timedelta(minutes=10)) == 600


@pytest.mark.parametrize("duration", ["", "m", "10 minutes", "1h30m", "5M", None, [1]])
def test_what_is_no_duration(duration: Any) -> None:
    with pytest.raises(ValueError, match="no duration; write it as in 30s, 10m"):
        seconds(duration)


def test_a_schedule_as_it_is_read() -> None:
    message = schedules_pb2.Schedule(
        schedule_id="a",
        health=schedules_pb2.SCHEDULE_HEALTH_STALE,
        next=[schedules_pb2.Occurrence(local="2027-03-28T03:00:00+02:00", note="shifted")],
        skips=[schedules_pb2.SkippedOccurrences(count=2, is_at_least=True, reason="missed")],
        problems=[definitions_pb2.DefinitionProblem(file="runs.toml", key="schedules.a", message="no cron")],
        runs_made=3,
    )
    message.next[0].at.FromDatetime(NOON)
    message.last_success_at.FromDatetime(NOON)
    schedule = read_schedule(message)
    assert (schedule.health, schedule.runs_made) == (ScheduleHealth.STALE, 3)
    assert (schedule.next[0].at, schedule.next[0].note) == (NOON, "shifted")
    assert (schedule.skips[0].count, schedule.skips[0].is_at_least) == (2, True)
    assert schedule.problems == (DefinitionProblem("runs.toml", "schedules.a", "no cron"),)
    assert (schedule.last_success_at, schedule.last_scheduled_for, schedule.created_at) == (NOON, None, None)
    shown = schedule.to_dict()
    assert shown["next"][0]["at"] == "2027-03-28T12:00:00.000Z"
    assert (shown["health"], shown["spec"]["every_seconds"], shown["spec"]["metadata"]) == ("stale", None, {})


def test_what_a_newer_daemon_knows_is_unspecified() -> None:
    schedule = read_schedule(schedules_pb2.Schedule.FromString(bytes([8 << 3, 99])))
    assert schedule.health is ScheduleHealth.UNSPECIFIED
    assert read_spec(schedules_pb2.ScheduleSpec()).concurrency_policy is ConcurrencyPolicy.UNSPECIFIED


def test_runs_and_events_know_their_schedule(daemon: FakeDaemon, client: RunsClient) -> None:
    run = run_pb2.Run(run_id="r", schedule_id="nightly")
    run.scheduled_for.FromDatetime(NOON)
    assert (read_run(run).schedule_id, read_run(run).scheduled_for) == ("nightly", NOON)
    watched = read_watched_event(runs_pb2.WatchedEvent(position=3, target="task:a", schedule_id="nightly"))
    assert (watched.run_id, watched.schedule_id, watched.to_dict()["schedule_id"]) == ("", "nightly", "nightly")
    client.list(schedule_id="nightly")
    assert daemon.requests("ListRuns")[0].schedule_id == "nightly"


def test_lists_are_fetched_in_pages(client: RunsClient) -> None:
    for name in "abc":
        client.schedules.create(name, "task:a", every=60)
    page = client.schedules.list(limit=2)
    assert ([s.schedule_id for s in page.data], page.page_info.next) == (["a", "b"], "2")
    assert [s.schedule_id for s in client.schedules.list_all(limit=1)] == ["a", "b", "c"]


def spec_of(**options: Any) -> schedules_pb2.ScheduleSpec:
    return new_spec("task:sync", options)  # type: ignore[arg-type]


def times_of(spec: schedules_pb2.ScheduleSpec) -> set[str]:
    return {field.name for field, _ in spec.timetable.ListFields()}


@pytest.mark.parametrize(
    ("before", "changes", "left"),
    [
        ({"cron": "* * * * *", "timezone": "Europe/Stockholm"}, {"every": "10m"}, {"every_seconds"}),
        ({"cron": "* * * * *", "timezone": "Europe/Stockholm"}, {"cron": "5 * * * *"}, {"cron", "timezone"}),
        ({"cron": "* * * * *", "timezone": "Europe/Stockholm"}, {"timezone": None}, {"cron"}),
        ({"cron": "* * * * *", "end_at": NOON}, {"at": NOON}, {"at", "end_at"}),
        ({"every": 60, "anchor": NOON}, {"every": 90}, {"every_seconds", "anchor"}),
        ({"every": 60, "anchor": NOON}, {"cron": "5 * * * *", "timezone": "UTC"}, {"cron", "timezone"}),
        ({"every": 60, "start_at": NOON}, {"start_at": None}, {"every_seconds"}),
        ({"every": 60}, {"cron": "5 * * * *", "at": NOON}, {"cron", "at", "every_seconds"}),  # the daemon says so
    ],
)
def test_an_update_of_when_it_is_due(before: dict[str, Any], changes: Any, left: set[str]) -> None:
    assert times_of(changed_spec(spec_of(**before), changes)) == left


def test_an_update_changes_just_what_is_given(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client, timezone="Europe/Stockholm", config=[1], priority=5, timeout_seconds=3, max_runs=4)
    kept = daemon.state.schedules["nightly"].spec
    kept.input_json = '{ "b":1.0,  "a": [1e3] }'
    before = schedules_pb2.ScheduleSpec.FromString(kept.SerializeToString())
    schedule = client.schedules.update("nightly", priority=None, timeout_seconds=None, config={"n": 1}, jitter="1m")
    [sent] = daemon.requests("UpdateSchedule")
    assert sent.etag == "1"
    before.ClearField("priority")
    before.ClearField("timeout_seconds")
    before.config_json, before.jitter_seconds = '{"n":1}', 60
    assert sent.spec == before
    assert (schedule.spec.priority, schedule.spec.timeout_seconds, schedule.etag) == (0, None, "2")


def test_what_this_client_does_not_know_of_a_spec_stays() -> None:
    unknown = bytes([0xF8, 0x07, 5])  # field 127 = 5
    spec = schedules_pb2.ScheduleSpec.FromString(spec_of(every=60).SerializeToString() + unknown)
    assert unknown in changed_spec(spec, {"priority": 1}).SerializeToString()


def test_a_concurrent_change_is_a_conflict(daemon: FakeDaemon, client: RunsClient) -> None:
    etag = make(client).etag
    client.schedules.pause("nightly")
    with pytest.raises(ConflictError, match="changed since") as caught:
        client.schedules.update("nightly", etag=etag, priority=3)
    assert (caught.value.code, caught.value.reason) == ("ABORTED", "OUTDATED")
    assert daemon.state.schedules["nightly"].spec.priority == 0
    with pytest.raises(ConflictError):
        client.schedules.delete("nightly", etag=etag)
    assert client.schedules.update("nightly", priority=3).spec.priority == 3


def test_an_update_whose_answer_was_lost_is_done_once(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client)
    daemon.state.lost_answers["UpdateSchedule"].append(LOST)
    assert client.schedules.update("nightly", priority=3).etag == "2"
    assert len(daemon.requests("UpdateSchedule")) == 2


def test_a_deletion_whose_answer_was_lost_is_done(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client, description="x")
    daemon.state.lost_answers["DeleteSchedule"].append(LOST)
    assert client.schedules.delete("nightly").spec.description == "x"
    assert len(daemon.requests("DeleteSchedule")) == 2
    with pytest.raises(NotFoundError, match="nightly"):
        client.schedules.delete("nightly")


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("CreateSchedule", lambda client: make(client)),
        ("PauseSchedule", lambda client: client.schedules.pause("nightly", reason="holidays")),
        ("BackfillSchedule", lambda client: client.schedules.backfill("nightly", NOON, NOON)),
    ],
)
def test_calls_that_may_be_made_again(
    daemon: FakeDaemon, client: RunsClient, method: str, call: Callable[..., Any]
) -> None:
    make(client)
    asked = len(daemon.requests(method))
    daemon.state.lost_answers[method].append(LOST)
    call(client)
    assert len(daemon.requests(method)) == asked + 2


def test_a_run_is_triggered_once(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client, run_name="Nightly")
    daemon.state.lost_answers["TriggerSchedule"].append(LOST)
    answer = client.schedules.trigger("nightly")
    assert (answer.accepted, answer.duplicate, answer.run.name) == (True, True, "Nightly")
    first, again = daemon.requests("TriggerSchedule")
    assert first.idempotency_key == again.idempotency_key != ""
    other = client.schedules.trigger("nightly", run_name="by hand", idempotency_key="k")
    assert (other.run.name, other.run.idempotency_key) == ("by hand", "k")
    assert len(daemon.state.runs) == 2


def test_preview_is_of_a_timetable_or_of_a_schedule(daemon: FakeDaemon, client: RunsClient) -> None:
    occurrence = schedules_pb2.Occurrence(local="2027-03-28T14:00:00+02:00")
    occurrence.at.FromDatetime(NOON)
    daemon.state.occurrences = [occurrence]
    [found] = client.schedules.preview(cron="0 14 * * *", timezone="Europe/Stockholm", after=NOON, count=4)
    assert (found.at, found.local, found.note) == (NOON, "2027-03-28T14:00:00+02:00", "")
    client.schedules.preview(schedule_id="nightly")
    of_timetable, of_schedule = daemon.requests("PreviewSchedule")
    assert (of_timetable.WhichOneof("subject"), of_timetable.count) == ("timetable", 4)
    assert of_timetable.after.ToDatetime(tzinfo=UTC) == NOON
    assert (of_schedule.WhichOneof("subject"), of_schedule.HasField("after")) == ("schedule_id", False)
    with pytest.raises(InvalidRequestError, match="schedule_id: not together with cron"):
        client.schedules.preview(schedule_id="nightly", cron="* * * * *")
    with pytest.raises(InvalidRequestError, match=r"timetable\.every_seconds"):
        client.schedules.preview(every="soon")


def test_backfill(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client)
    run = schedules_pb2.BackfilledRun(run_id="r1", duplicate=True)
    run.scheduled_for.FromDatetime(NOON)
    daemon.state.backfilled = [run]
    [found] = client.schedules.backfill("nightly", NOON, NOON + timedelta(hours=1))
    assert (found.scheduled_for, found.run_id, found.duplicate) == (NOON, "r1", True)
    [sent] = daemon.requests("BackfillSchedule")
    assert (sent.due_from.ToDatetime(tzinfo=UTC), sent.due_before.ToDatetime(tzinfo=UTC)) == (
        NOON,
        NOON + timedelta(hours=1),
    )


def test_errors_of_schedules(daemon: FakeDaemon, client: RunsClient) -> None:
    make(client)
    with pytest.raises(AlreadyExistsError, match="choose another id"):
        make(client, cron="5 * * * *")
    assert client.schedules.create("nightly", "task:sync", cron="30 2 * * *").duplicate
    with pytest.raises(NotFoundError, match="weekly"):
        client.schedules.update("weekly", priority=1)
    faults = (("spec.timetable.cron", "no"),)
    refused = Failure(grpc.StatusCode.INVALID_ARGUMENT, "spec.timetable.cron: no", "INVALID_REQUEST", faults)
    daemon.state.failures["CreateSchedule"].append(refused)
    with pytest.raises(InvalidRequestError, match=r"spec\.timetable\.cron: no"):
        make(client)


async def test_the_async_client(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    run = schedules_pb2.BackfilledRun(run_id="r1")
    daemon.state.backfilled = [run]
    async with async_client as client:
        schedules = client.schedules
        for name in "ab":
            assert not (await schedules.create(name, "task:a", every="10m")).duplicate
        assert (await schedules.get("a")).spec.every_seconds == 600
        assert [s.schedule_id async for s in schedules.list_all(limit=1)] == ["a", "b"]
        daemon.state.lost_answers["UpdateSchedule"].append(LOST)
        assert (await schedules.update("a", cron="0 4 * * *")).spec.every_seconds is None
        assert (await schedules.pause("a", reason="holidays")).pause_reason == "holidays"
        with pytest.raises(ConflictError):
            await schedules.update("a", etag="1", priority=1)
        assert not (await schedules.resume("a")).paused
        assert (await schedules.trigger("a")).run.target == "task:a"
        assert await schedules.preview(schedule_id="a", count=1) == ()
        assert [r.run_id for r in await schedules.backfill("a", NOON, NOON)] == ["r1"]
        daemon.state.lost_answers["DeleteSchedule"].append(LOST)
        assert (await schedules.delete("a")).schedule_id == "a"
        with pytest.raises(NotFoundError):
            await schedules.get("a")


def test_options_of_a_timetable_are_known() -> None:
    assert TimetableOptions.__annotations__.keys() < ScheduleChanges.__annotations__.keys()
