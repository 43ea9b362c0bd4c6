"""`runs schedules` against the fake daemon: what is sent, written and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from runsd_client.commands.app import app
from runsd_client.commands.event_text import describe
from runsd_client.commands.schedules import COMMANDS
from runsd_client.commands.times import interval
from runsd_client.durations import seconds
from runsd_client.proto import definitions_pb2, run_pb2, runs_pb2, schedules_pb2
from runsd_client.values import Event
from typer.testing import CliRunner, Result

from tests.unit.client.fake_daemon import Failure, FakeDaemon

NOTE = "02:30 does not exist on 2027-03-28 in Europe/Stockholm; moved to 03:00"


@pytest.fixture(autouse=True)
def in_the_environment(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", daemon.address)


def runs(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def schedules(*arguments: str) -> Result:
    return runs("schedules", *arguments)


def value(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def occurrence(utc: str, local: str, note: str = "") -> schedules_pb2.Occurrence:
    message = schedules_pb2.Occurrence(local=local, note=note)
    message.at.FromJsonString(utc)
    return message


@pytest.fixture
def moved(daemon: FakeDaemon) -> None:
    daemon.state.occurrences = [
        occurrence("2027-03-27T01:30:00Z", "2027-03-27T02:30:00+01:00"),
        occurrence("2027-03-28T01:00:00Z", "2027-03-28T03:00:00+02:00", NOTE),
    ]


def sent(daemon: FakeDaemon, method: str) -> Any:
    [request] = daemon.requests(method)
    return request


def test_help_of_every_command() -> None:
    shown = schedules("--help").stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "..." not in shown.partition("Commands:")[2], "a summary is cut"
    for name in COMMANDS:
        assert all(option in schedules(name, "--help").stdout for option in ("--address", "--project", "Write JSON: "))
    assert "  schedules " in runs("--help").stdout


@pytest.mark.usefixtures("moved")
def test_preview_shows_local_time_utc_and_why(daemon: FakeDaemon) -> None:
    arguments = ["30 2 * * *", "--timezone", "Europe/Stockholm", "--from", "2027-03-27", "--count", "2"]
    result = schedules("preview", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "LOCAL                      UTC                       NOTE",
        "2027-03-27T02:30:00+01:00  2027-03-27T01:30:00.000Z",
        f"2027-03-28T03:00:00+02:00  2027-03-28T01:00:00.000Z  {NOTE}",
    ]
    request = sent(daemon, "PreviewSchedule")
    assert (request.timetable.cron, request.timetable.timezone, request.count) == ("30 2 * * *", "Europe/Stockholm", 2)
    # An occurrence at midnight is one from then on.
    assert request.after.ToDatetime(tzinfo=UTC) == datetime(2027, 3, 26, 22, 59, 59, 999_999, UTC)


@pytest.mark.usefixtures("moved")
def test_preview_as_json(daemon: FakeDaemon) -> None:
    answer = value(schedules("preview", "--every", "10m", "--json"))
    assert [o["note"] for o in answer["data"]] == ["", NOTE]
    assert sent(daemon, "PreviewSchedule").timetable.every_seconds == 600


def test_preview_of_a_schedule_reads_dates_in_its_zone(daemon: FakeDaemon) -> None:
    schedules("create", "nightly", "task:a", "--cron", "0 0 * * *", "--timezone", "Asia/Tokyo")
    result = schedules("preview", "--schedule", "nightly", "--from", "2027-03-27")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing is due\n")
    request = sent(daemon, "PreviewSchedule")
    assert (request.WhichOneof("subject"), request.schedule_id) == ("schedule_id", "nightly")
    assert request.after.ToDatetime(tzinfo=UTC) == datetime(2027, 3, 26, 14, 59, 59, 999_999, UTC)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["preview"], ["CRON", "give a cron expression, such as '30 2 * * mon-fri', or --every, --at or --schedule"]),
        (["preview", "* * * * *", "--from", "27.3.2027"], ["--from", "'27.3.2027' is no date", "as in 2027-03-27 or"]),
        (["preview", "* * * * *", "--from", "2027-03-27T09:00"], ["a time of any zone", "2027-03-27T09:00+02:00"]),
        (["preview", "--every", "soon"], ["runs: --every: 'soon' is no duration", "10m"]),
        (["preview", "* * * * *", "--schedule", "a"], ["runs: SCHEDULE: not together with cron"]),
        (["create", "a", "task:a", "--every", "1m", "--catch-up", "some"], ["--catch-up: 'some' is not one of none,"]),
        (["create", "a", "task:a", "--every", "1m", "--input", "{x"], ["--input", "line 1 column 2"]),
        (["update", "a"], ["nothing to change; say what"]),
        (["update", "a", "--unset", "target"], ["--unset", "'target' is not one of cron, timezone", "retries"]),
        (["backfill", "a", "--from", "2027-01-01"], ["--to"]),
        (["get", "a"], ["runs: there is no schedule 'a'"]),
        (["trigger", "a"], ["runs: there is no schedule 'a'"]),
    ],
)
def test_what_is_wrong_is_explained(daemon: FakeDaemon, arguments: list[str], said: list[str]) -> None:
    result = schedules(*arguments)
    assert result.exit_code == 2, result.output
    assert all(part in " ".join(result.stderr.split()) for part in said), result.stderr
    assert daemon.state.schedules == {}


def test_the_daemon_says_what_is_wrong_with_a_zone(daemon: FakeDaemon) -> None:
    described = "'Europe/Stokholm' is no time zone; did you mean Europe/Stockholm?"
    faults = (("timetable.timezone", described), ("timetable.cron", "no"))
    refused = Failure(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST", faults)
    daemon.state.failures["PreviewSchedule"] += [refused, refused]
    result = schedules("preview", "* * * * *", "--timezone", "Europe/Stokholm", "--from", "2027-03-27")
    assert (result.exit_code, result.stderr) == (2, f"runs: --timezone: {described}; --cron: no\n")
    result = schedules("preview", "* * * *", "--timezone", "Europe/Stokholm")
    assert (result.exit_code, result.stderr) == (2, f"runs: --timezone: {described}; CRON: no\n")


def test_a_zone_that_only_the_daemon_knows() -> None:
    result = schedules("preview", "* * * * *", "--timezone", "Mars/Olympus", "--from", "2027-03-27")
    assert result.exit_code == 2
    assert "does not know the zone Mars/Olympus; write the time with its offset" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("moved")
def test_create_sends_what_was_typed(daemon: FakeDaemon) -> None:
    options = ["--cron", "30 2 * * *", "--timezone", "Europe/Stockholm", "--end-at", "2028-01-01", "--paused"]
    options += ["--input", '{"n": 1}', "--metadata", '{"team": "a"}', "--timeout", "5", "--retries", "0"]
    options += ["--concurrency-policy", "Forbid", "--catch-up", "All", "--catch-up-window", "2h", "--jitter", "30s"]
    options += ["--max-runs", "3", "--max-staleness", "2d", "--priority", "7", "--run-name", "N", "--description", "D"]
    result = schedules("create", "nightly", "task:a", *options)
    assert (result.exit_code, result.stdout) == (0, "nightly created, paused\n"), result.output
    request = sent(daemon, "CreateSchedule")
    spec = request.spec
    assert request.paused
    assert spec.timetable.end_at.ToDatetime(tzinfo=UTC) == datetime(2027, 12, 31, 23, tzinfo=UTC)
    assert (spec.input_json, spec.metadata_json, spec.config_json) == ('{"n":1}', '{"team":"a"}', "")
    assert (spec.timeout_seconds, spec.backoff_limit, spec.HasField("backoff_limit")) == (5, 0, True)
    assert spec.concurrency_policy == schedules_pb2.CONCURRENCY_POLICY_FORBID
    assert spec.catch_up == schedules_pb2.CATCH_UP_ALL
    assert (spec.catch_up_window_seconds, spec.jitter_seconds, spec.max_staleness_seconds) == (7200, 30, 172_800)
    assert (spec.max_runs, spec.priority, spec.run_name, spec.description) == (3, 7, "N", "D")


@pytest.mark.usefixtures("moved")
def test_the_same_again_is_no_error() -> None:
    first = schedules("create", "a", "task:a", "--every", "10m")
    assert first.stdout == "a created, next Sat 2027-03-27 02:30:00+01:00\n"
    again = schedules("create", "a", "task:a", "--every", "10m")
    assert (again.exit_code, again.stdout.split(";")[0]) == (0, "a was there before, just so")
    assert value(schedules("create", "a", "task:a", "--every", "10m", "--json"))["duplicate"] is True
    other = schedules("create", "a", "task:a", "--every", "11m")
    assert (other.exit_code, "choose another id" in other.stderr) == (2, True)


def test_a_zone_reads_the_time_of_at_and_is_not_sent(daemon: FakeDaemon) -> None:
    schedules("create", "once", "task:a", "--at", "2027-07-01T09:00", "--timezone", "Europe/Stockholm")
    timetable = sent(daemon, "CreateSchedule").spec.timetable
    assert (timetable.at.ToDatetime(tzinfo=UTC), timetable.timezone) == (datetime(2027, 7, 1, 7, tzinfo=UTC), "")


def test_update_changes_what_is_given(daemon: FakeDaemon) -> None:
    made = ["--cron", "0 0 * * *", "--timezone", "Asia/Tokyo", "--priority", "3", "--timeout", "9", "--jitter", "1m"]
    schedules("create", "a", "task:a", *made)
    result = schedules("update", "a", "--end-at", "2028-01-01", "--unset", "timeout", "--unset", "--jitter")
    assert (result.exit_code, result.stdout) == (0, "a updated, nothing is due any more\n"), result.output
    spec = sent(daemon, "UpdateSchedule").spec
    assert spec.timetable.end_at.ToDatetime(tzinfo=UTC) == datetime(2027, 12, 31, 15, tzinfo=UTC)
    assert (spec.priority, spec.HasField("timeout_seconds"), spec.jitter_seconds) == (3, False, 0)
    schedules("update", "a", "--every", "90m", "--target", "task:b")
    spec = daemon.state.schedules["a"].spec
    assert (spec.target, spec.timetable.cron, spec.timetable.every_seconds) == ("task:b", "", 5400)
    conflict = schedules("update", "a", "--priority", "4", "--etag", "1")
    assert (conflict.exit_code, "was changed since" in conflict.stderr) == (2, True)


def test_pause_resume_and_delete_say_what_they_did(daemon: FakeDaemon) -> None:
    schedules("create", "a", "task:a", "--every", "10m")
    assert schedules("pause", "a", "--reason", "holidays").stdout == "a paused (holidays)\n"
    assert schedules("resume", "a").stdout == "a resumed, nothing is due any more\n"
    assert value(schedules("pause", "a", "--json"))["paused"] is True
    assert schedules("delete", "a").stdout == "a deleted, its runs go on\n"
    assert daemon.state.schedules == {}


def test_trigger_writes_the_id_of_the_run(daemon: FakeDaemon) -> None:
    schedules("create", "a", "task:a", "--every", "10m")
    assert schedules("trigger", "a", "--name", "by hand", "--key", "k").stdout == "run-1\n"
    again = schedules("trigger", "a", "--key", "k")
    assert (again.stdout, again.stderr) == ("run-1\n", "the key had made run run-1 before\n")
    assert daemon.state.runs["run-1"].name == "by hand"
    daemon.finish("run-1", run_pb2.RUN_STATUS_FAILED)
    assert schedules("trigger", "a", "--key", "k", "--wait").exit_code == 1


def test_backfill_shows_the_runs(daemon: FakeDaemon) -> None:
    schedules("create", "a", "task:a", "--cron", "0 0 * * *", "--timezone", "Asia/Tokyo")
    nothing = schedules("backfill", "a", "--from", "2026-01-01", "--to", "2026-01-02")
    assert nothing.stderr == "nothing was due from 2025-12-31 15:00:00Z to 2026-01-01 15:00:00Z\n"
    for run_id, duplicate in (("r1", True), ("", False)):
        run = schedules_pb2.BackfilledRun(run_id=run_id, duplicate=duplicate)
        run.scheduled_for.FromJsonString("2026-01-01T15:00:00Z")
        daemon.state.backfilled.append(run)
    assert schedules("backfill", "a", "--from", "2026-01-01", "--to", "2026-01-03").stdout.splitlines() == [
        "r1 2026-01-01T15:00:00.000Z had been there before",
        "queued 2026-01-01T15:00:00.000Z",
    ]
    answer = value(schedules("backfill", "a", "--from", "2026-01-01", "--to", "2026-01-03", "--json"))
    assert [run["run_id"] for run in answer["data"]] == ["r1", ""]


@pytest.mark.usefixtures("moved")
def test_list_shows_how_schedules_stand(daemon: FakeDaemon) -> None:
    schedules("create", "b", "task:a", "--every", "90m")
    schedules("create", "c", "task:a", "--cron", "30 2 * * *", "--paused")
    schedules("create", "a", "task:a", "--at", "2027-07-01")
    broken = daemon.state.schedules["b"]
    broken.source, broken.last_run_id = "runs.toml", "run-9"
    broken.health = schedules_pb2.SCHEDULE_HEALTH_FAILING
    broken.problems.append(definitions_pb2.DefinitionProblem(file="runs.toml", key="schedules.b", message="no"))
    del daemon.state.schedules["a"].next[:]
    result = schedules("list")
    rows = [line.split("  ") for line in result.stdout.splitlines()]
    a, b, c = ([cell.strip() for cell in row if cell] for row in rows[1:])
    assert a == ["a", "at 2027-07-01 00:00:00Z", "task:a", "healthy", "over"]
    assert b == [
        "b",
        "every 90m",
        "task:a",
        "2027-03-27T01:30:00.000Z",
        "run-9",
        "failing",
        "active, declaration broken",
    ]
    assert (c[1], c[-1]) == ("30 2 * * * UTC", "paused")
    assert result.stderr == "runs: b: runs.toml: schedules.b: no\n"
    first = schedules("list", "--limit", "2")
    assert first.stderr.endswith("there are more: --page-token 2, or --all\n")
    assert [s["schedule_id"] for s in value(schedules("list", "--all", "--limit", "1", "--json"))["data"]] == [*"abc"]


def test_a_zone_that_the_machine_does_not_know_is_a_state(daemon: FakeDaemon) -> None:
    schedules("create", "a", "task:a", "--cron", "30 2 * * *")
    lost = daemon.state.schedules["a"]
    del lost.next[:]
    lost.problems.append(definitions_pb2.DefinitionProblem(key="timezone", message="is not known"))
    listed = schedules("list")
    assert listed.stdout.rstrip().endswith("zone unknown")
    assert listed.stderr == "runs: a: timezone: is not known\n"
    lost.source = "runs.toml"
    assert "zone unknown, declared" in schedules("get", "a").stdout


@pytest.mark.usefixtures("moved")
def test_get_shows_all_that_is_known(daemon: FakeDaemon) -> None:
    options = ["--timezone", "Europe/Stockholm", "--config", '{"n": 1}', "--max-staleness", "1d", "--retries", "0"]
    options += ["--concurrency-policy", "forbid"]
    schedules("create", "a", "task:a", "--cron", "30 2 * * *", *options)
    schedule = daemon.state.schedules["a"]
    del schedule.next[:]
    schedule.next.extend(daemon.state.occurrences)
    schedule.health, schedule.source = schedules_pb2.SCHEDULE_HEALTH_STALE, "tasks.py"
    schedule.runs_made, schedule.queued, schedule.skipped = 3, 1, 4
    schedule.last_success_run_id, schedule.last_run_id = "run-1", "run-2"
    schedule.last_success_at.FromJsonString("2027-03-26T01:30:02Z")
    schedule.last_scheduled_for.FromJsonString("2027-03-27T01:30:00Z")
    for count in (1, 3):
        skipped = schedule.skips.add(count=count, is_at_least=count == 3, reason="missed")
        skipped.first_at.FromJsonString("2027-03-20T01:30:00Z")
        skipped.last_at.FromJsonString("2027-03-22T01:30:00Z")
    shown = [line.split(maxsplit=1) for line in schedules("get", "a").stdout.splitlines()]
    assert shown == [
        ["schedule_id", "a"],
        ["target", "task:a"],
        ["when", "30 2 * * * Europe/Stockholm"],
        ["state", "active, declared"],
        ["source", "declared in tasks.py"],
        ["health", "stale (no run has completed for more than 1d)"],
        ["next", "Sat 2027-03-27 02:30:00+01:00 (2027-03-27 01:30:00Z)"],
        ["next", f"Sun 2027-03-28 03:00:00+02:00 (2027-03-28 01:00:00Z) {NOTE}"],
        ["last_run", "run-2 for 2027-03-27 01:30:00Z"],
        ["last_success", "run-1 at 2027-03-26 01:30:02Z"],
        ["runs", "3 on schedule, 1 queued, 4 skipped"],
        ["skipped", "2027-03-20 01:30:00Z: missed"],
        ["skipped", "at least 3 from 2027-03-20 01:30:00Z to 2027-03-22 01:30:00Z: missed"],
        ["config", '{"n": 1}'],
        ["backoff_limit", "0"],
        ["concurrency_policy", "Forbid"],
        ["catch_up", "unspecified"],
        ["max_staleness", "1d"],
        ["etag", "1"],
    ]
    assert value(schedules("get", "a", "--json"))["next"][1]["note"] == NOTE


def test_runs_of_a_schedule(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(schedule_id="nightly")
    daemon.state.runs[run_id].scheduled_for.FromJsonString("2027-03-27T01:30:00Z")
    shown = dict(line.split(maxsplit=1) for line in runs("get", run_id).stdout.splitlines())
    assert (shown["schedule_id"], shown["scheduled_for"]) == ("nightly", "2027-03-27T01:30:00.000Z")
    runs("list", "--schedule", "nightly")
    assert sent(daemon, "ListRuns").schedule_id == "nightly"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"schedule_id": "a", "health": "failing", "was": "healthy", "run_id": "r1"}, "failing (was healthy, run r1)"),
        ({"schedule_id": "a", "health": "stale", "was": "healthy"}, "stale (was healthy)"),
        ({}, ""),
    ],
)
def test_what_an_event_of_a_schedule_says(payload: Any, said: str) -> None:
    assert describe(Event(1, "schedule.health_changed", payload, None)) == said


def test_the_schedule_of_an_event_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from runsd_client.commands.event_display import show_watched
    from runsd_client.commands.terminal import Screen
    from runsd_client.conversion import read_watched_event

    event = run_pb2.Event(event_type="schedule.health_changed", payload_json='{"health": "stale"}')
    message = runs_pb2.WatchedEvent(position=9, target="task:a", schedule_id="nightly", event=event)
    show_watched(Screen(), read_watched_event(message))
    assert capsys.readouterr().out == "9 - nightly task:a schedule.health_changed stale\n"


@pytest.mark.parametrize("length", [0.25, 1, 59, 60, 90, 3600, 5400, 86_400, 90_000, 1e9])
def test_an_interval_can_be_typed_again(length: float) -> None:
    assert seconds(interval(length)) == length
