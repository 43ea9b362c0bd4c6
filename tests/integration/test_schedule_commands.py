"""Schedules by the `runs` command and both clients, on a real daemon."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from runsd_client import (
    AlreadyExistsError,
    AsyncRunsClient,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    RunsClient,
    RunStatus,
    ScheduleHealth,
    TriggerKind,
)
from runsd_client.commands.app import app
from typer.testing import CliRunner, Result

from tests.integration.daemon import PATIENCE_SECONDS, Daemon

LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_the_environment(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", daemon.address)


@pytest.fixture
def sync_client(daemon: Daemon) -> Any:
    with RunsClient(daemon.address) as client:
        yield client


def runs(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def schedules(*arguments: str) -> str:
    result = runs("schedules", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = runs("schedules", *arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59:59-10:00"])
def test_moments_at_the_ends_of_the_calendar_are_refused(moment: str) -> None:
    assert "a year from 2 to 9998" in refused("preview", "0 0 29 2 *", "--from", moment)


def test_preview_across_a_change_of_the_clock() -> None:
    arguments = ["30 2 * * *", "--timezone", "Europe/Stockholm", "--from", "2027-03-27", "--count", "4"]
    shown = [line.split(maxsplit=2) for line in schedules("preview", *arguments).splitlines()]
    assert [line[:2] for line in shown[1:]] == [
        ["2027-03-27T02:30:00+01:00", "2027-03-27T01:30:00.000Z"],
        ["2027-03-28T03:00:00+02:00", "2027-03-28T01:00:00.000Z"],
        ["2027-03-29T02:30:00+02:00", "2027-03-29T00:30:00.000Z"],
        ["2027-03-30T02:30:00+02:00", "2027-03-30T00:30:00.000Z"],
    ]
    assert "02:30 does not exist on 2027-03-28" in shown[2][2]
    assert [len(line) for line in shown[1:]] == [2, 3, 2, 2]


def test_what_is_due_at_the_beginning_is_included() -> None:
    assert "2027-03-27T00:00:00+01:00" in schedules(
        "preview", "0 0 * * *", "--timezone", "Europe/Stockholm", "--from", "2027-03-27", "--count", "1"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preview", "61 2 * * *"], "runs: CRON: the minute field '61' is wrong"),
        (["preview", "0 2 * * *", "--timezone", "Europe/Stokholm"], "runs: --timezone: 'Europe/Stokholm' is no time"),
        (["preview", "0 2 * * *", "--timezone", "Europe/Stokholm", "--from", "2027-03-27"], "did you mean Europe/Sto"),
        (["preview", "0 2 * * *", "--count", "5000"], "runs: --count: "),
        (["preview", "--schedule", "nowhere"], "there is no schedule 'nowhere'"),
        (["get", "nowhere"], "there is no schedule 'nowhere'"),
        (["backfill", "nowhere", "--from", "2026-01-01", "--to", "2026-01-02"], "there is no schedule 'nowhere'"),
        (["create", "a", "task:nowhere", "--every", "1h"], "there is no target 'task:nowhere'"),
        (["create", "a", "task:echo"], "runs: --cron: missing; give one of cron, at and every"),
        (["create", "a b", "task:echo", "--every", "1h", "--jitter", "9d"], "runs: SCHEDULE: 'a b' is no id"),
        (["create", "a", "task:checked", "--every", "1h", "--input", "{}"], "runs: --input: "),
    ],
)
def test_what_is_refused_is_named_as_it_was_typed(arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


def test_taking_away_when_it_is_due() -> None:
    schedules("create", "unset", "task:echo", "--every", "1h", "--priority", "2")
    assert "--unset every: without --every nothing says when it is due; give --cron, --every or --at" in refused(
        "update", "unset", "--unset", "every", "--unset", "priority"
    )
    assert schedules("update", "unset", "--unset", "cron", "--unset", "priority").startswith("unset updated, next ")
    assert schedules("update", "unset", "--unset", "every", "--cron", "0 0 * * *").startswith("unset updated, next ")
    schedules("delete", "unset")


def test_a_schedule_by_the_command() -> None:
    made = ["nightly", "task:echo", "--cron", "30 2 * * *", "--timezone", "Europe/Stockholm", "--input", '{"n": 1}']
    assert schedules("create", *made).startswith("nightly created, next ")
    assert schedules("create", *made).startswith("nightly was there before")
    assert "with another spec" in refused("create", *made, "--priority", "3")
    assert "30 2 * * * Europe/Stockholm" in schedules("list")
    shown = schedules("get", "nightly")
    assert len([line for line in shown.splitlines() if line.startswith("next ")]) == 5
    assert "did you mean nightly?" in refused("get", "nigthly")

    etag = json.loads(schedules("get", "nightly", "--json"))["etag"]
    assert schedules("pause", "nightly", "--reason", "holidays") == "nightly paused (holidays)\n"
    assert "paused (holidays)" in schedules("get", "nightly")
    assert "has changed since it was read" in refused("update", "nightly", "--etag", etag, "--priority", "4")
    assert schedules("resume", "nightly").startswith("nightly resumed, next ")
    schedules("update", "nightly", "--every", "90m", "--run-name", "Every so often", "--unset", "input")
    spec = json.loads(schedules("get", "nightly", "--json"))["spec"]
    assert (spec["cron"], spec["timezone"], spec["every_seconds"], spec["input"]) == ("", "", 5400, None)

    run_id = schedules("trigger", "nightly", "--key", "k").strip()
    assert schedules("trigger", "nightly", "--key", "k").strip() == run_id
    assert runs("wait", run_id).exit_code == 0
    shown = runs("get", run_id).stdout
    assert "schedule_id      nightly\n" in shown and "scheduled_for" not in shown
    assert run_id in runs("list", "--schedule", "nightly").stdout
    assert run_id not in runs("list", "--schedule", "other").stdout

    assert schedules("delete", "nightly") == "nightly deleted, its runs go on\n"
    assert "there is no schedule 'nightly'" in refused("delete", "nightly")


def test_backfill_by_the_command() -> None:
    schedules("create", "past", "task:true", "--cron", "0 4 * * *", "--timezone", "Asia/Tokyo", "--paused")
    wanted = ["past", "--from", "2026-03-01", "--to", "2026-03-04"]
    made = [line.split(maxsplit=2) for line in schedules("backfill", *wanted).splitlines()]
    # Midnight is that of the schedule's zone.
    assert [moment for _, moment in made] == [
        "2026-02-28T19:00:00.000Z",
        *(f"2026-03-0{d}T19:00:00.000Z" for d in (1, 2)),
    ]
    again = [line.split(maxsplit=2) for line in schedules("backfill", *wanted).splitlines()]
    assert again == [[*run, "had been there before"] for run in made]
    assert runs("wait", made[0][0]).exit_code == 0
    assert "scheduled_for    2026-02-28T19:00:00.000Z" in runs("get", made[0][0]).stdout
    assert "must not be later than now" in refused("backfill", "past", "--from", "2026-03-01", "--to", "2999-01-01")


def test_a_schedule_makes_runs(sync_client: RunsClient) -> None:
    created = sync_client.schedules.create("often", "task:exit-status", every="1s", input=1, backoff_limit=0)
    assert created.schedule.next[0].at > datetime.now(UTC) - timedelta(seconds=PATIENCE_SECONDS)
    for watched in sync_client.watch(after_position=0, event_types=["schedule.health_changed"]):
        if watched.schedule_id == "often":
            break
    assert (watched.run_id, watched.target, watched.event.payload["health"]) == ("", "task:exit-status", "failing")
    sync_client.schedules.pause("often")
    schedule = sync_client.schedules.get("often")
    assert (schedule.health, schedule.next) == (ScheduleHealth.FAILING, ())
    assert "failing (the run that ended last has failed)" in schedules("get", "often")
    run = min(sync_client.list_all(schedule_id="often"), key=lambda run: run.created_at or LONG_AGO)
    assert (run.schedule_id, run.trigger_kind, run.status) == ("often", TriggerKind.SCHEDULE, RunStatus.FAILED)
    assert run.scheduled_for == created.schedule.next[0].at
    sync_client.schedules.delete("often")


async def test_a_schedule_by_the_async_client(client: AsyncRunsClient) -> None:
    made = await client.schedules.create(
        "hourly",
        "task:echo",
        every=timedelta(hours=1),
        input={"n": 2**70},
        metadata={"team": "a"},
        max_staleness_seconds="2d",
    )
    assert not made.duplicate
    with pytest.raises(AlreadyExistsError):
        await client.schedules.create("hourly", "task:echo", every=60)
    first = await client.schedules.get("hourly")
    assert (first.spec.input, first.spec.every_seconds, first.spec.concurrency_policy) == ({"n": 2**70}, 3600, "allow")
    changed = await client.schedules.update("hourly", cron="0 * * * *", max_staleness_seconds=None)
    assert (changed.spec.cron, changed.spec.timezone, changed.spec.every_seconds) == ("0 * * * *", "UTC", None)
    assert (changed.spec.max_staleness_seconds, changed.spec.metadata) == (0, {"team": "a"})
    with pytest.raises(ConflictError):
        await client.schedules.update("hourly", etag=first.etag, priority=1)
    with pytest.raises(InvalidRequestError, match=r"spec\.timetable\.cron"):
        await client.schedules.update("hourly", cron="0 * * *")
    occurrences = await client.schedules.preview(schedule_id="hourly", after=LONG_AGO, count=2)
    assert [o.at - LONG_AGO for o in occurrences] == [timedelta(hours=1), timedelta(hours=2)]
    backfilled = await client.schedules.backfill("hourly", LONG_AGO, LONG_AGO + timedelta(hours=3))
    assert [b.scheduled_for - LONG_AGO for b in backfilled] == [timedelta(hours=h) for h in range(3)]
    answer = await client.schedules.trigger("hourly", run_name="by hand")
    run = await client.wait(answer.run.run_id)
    assert (run.name, run.schedule_id, run.scheduled_for, run.output) == ("by hand", "hourly", None, {"n": 2**70})
    assert "hourly" in [s.schedule_id async for s in client.schedules.list_all(limit=1)]
    assert (await client.schedules.delete("hourly")).spec.metadata == {"team": "a"}
    with pytest.raises(NotFoundError):
        await client.schedules.get("hourly")


async def test_an_update_that_was_done_is_known_by_what_the_daemon_gives_back(client: AsyncRunsClient) -> None:
    """As after a lost answer: the etag is old, and the spec is the one that was sent."""
    etag = (await client.schedules.create("again", "task:echo", cron="0 1 * * *", timezone="UTC")).schedule.etag
    for changes in (
        {"every": 90},
        {"cron": "0  2 * * *", "timezone": None},
        {"concurrency_policy": "queue", "catch_up": None, "catch_up_window": None},
        {"concurrency_policy": None, "jitter": "1m", "end_at": datetime(2030, 1, 1, tzinfo=UTC)},
    ):
        done = await client.schedules.update("again", **changes)
        assert done.etag != etag
        assert await client.schedules.update("again", etag=etag, **changes) == done
    await client.schedules.delete("again")
