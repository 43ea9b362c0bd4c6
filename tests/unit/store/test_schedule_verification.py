"""`runsd verify` of schedules: sound ones are clean, and each way of breaking one is found."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runsd.adapters.directory import RunFiles
from runsd.engine.verification import verify
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.events import EventType
from runsd.model.occurrences import Skipped
from runsd.model.run import TriggerKind
from runsd.model.schedules import ConcurrencyPolicy, ScheduleSpec, created
from runsd.model.targets import Target
from runsd.model.timetables import Every, Timetable
from runsd.store import schedule_changes
from runsd.store.journal import Journal
from runsd.store.store import open_store
from runsd.store.transaction import Transaction
from runsd.store.verification import Counts
from tests.unit.store.test_verification import execute, violations

HOURLY, QUEUE, DELETED = "hourly", "in/turn", "gone"
FAILED, RETRY, BY_HAND, OPEN, ORPHAN, PLAIN = (
    f"run-{name}" for name in ("failed", "retry", "by-hand", "open", "orphan", "plain")
)
HOUR = 3_600_000_000
SPEC = ScheduleSpec("task:t", Timetable(Every(HOUR)))


async def write_schedules(directory: Path) -> None:
    RunFiles(directory).prepare()
    async with open_store(directory, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        await _write(store.journal)
        store.journal.stop()
        await writing


async def _write(journal: Journal) -> None:
    for schedule_id in (HOURLY, QUEUE, DELETED):
        await journal.change(_created(schedule_id))
    await journal.change(_run(HOURLY, FAILED, at=HOUR))
    await journal.change(_ended(FAILED, EventType.FAILED))
    await journal.change(_run(HOURLY, RETRY, at=HOUR, retry_of=FAILED))
    await journal.change(_ended(RETRY, EventType.COMPLETED))
    await journal.change(_run(HOURLY, BY_HAND))
    await journal.change(_ended(BY_HAND, EventType.FAILED))
    await journal.change(_skip)
    await journal.change(_run(QUEUE, OPEN, at=HOUR))
    await journal.change(_queue)
    await journal.change(_run(DELETED, ORPHAN, at=HOUR))
    await journal.change(_delete)
    await journal.change(_run("", PLAIN))


def _created(schedule_id: str) -> Any:
    spec = replace(SPEC, concurrency_policy=ConcurrencyPolicy.QUEUE) if schedule_id == QUEUE else SPEC
    schedule = created("p", schedule_id, spec, 0)._replace(next_at=4 * HOUR)

    def change(transaction: Transaction) -> None:
        schedule_changes.create(transaction, schedule)

    return change


def _run(schedule_id: str, run_id: str, at: int | None = None, retry_of: str = "") -> Any:
    """A run of the schedule, and unless it is a retry the occurrence that it is of."""
    kind = TriggerKind.SCHEDULE if at else TriggerKind.MANUAL
    request = CreateRequest(
        target="task:t", schedule_id=schedule_id, scheduled_for=at, retry_of_run_id=retry_of, trigger_kind=kind
    )
    new = NewRun(run_id, "p", Target.parse("task:t"), request, 0.0, 0)

    def change(transaction: Transaction) -> None:
        transaction.create(new.created_payload(run_id, transaction.now), new.documents, b"")
        if at and not retry_of:
            schedule_changes.decide(transaction, _stored(transaction, schedule_id), at, run_id)

    return change


def _stored(transaction: Transaction, schedule_id: str) -> schedule_changes.StoredSchedule:
    stored = schedule_changes.find(transaction, "p", schedule_id)
    assert stored is not None
    return stored


def _ended(run_id: str, event_type: EventType) -> Any:
    def change(transaction: Transaction) -> None:
        stored = transaction.get(run_id)
        stored = transaction.record(stored, EventType.STARTED, {"attempt": 1, "adapter": "inprocess"})
        transaction.open_attempt(stored, "inprocess")
        error = {"attempt": 1, "error": {"message": "no", "code": "exception"}}
        transaction.record(stored, event_type, error if event_type is EventType.FAILED else {})

    return change


def _skip(transaction: Transaction) -> None:
    stored = _stored(transaction, HOURLY)
    schedule_changes.skip(transaction, stored, Skipped(2 * HOUR, 3 * HOUR, 2, "missed"))
    schedule_changes.change(transaction, stored, stored.schedule._replace(skipped=2))


def _queue(transaction: Transaction) -> None:
    stored = _stored(transaction, QUEUE)
    for at in (2 * HOUR, 3 * HOUR):
        schedule_changes.decide(transaction, stored, at, "")
    schedule_changes.change(transaction, stored, stored.schedule._replace(queued=2))


def _delete(transaction: Transaction) -> None:
    stored = _stored(transaction, DELETED)
    schedule_changes.change(transaction, stored, stored.schedule._replace(is_deleted=True, next_at=None))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schedules")
    asyncio.run(write_schedules(directory))
    return directory


@pytest.fixture
def state(sound: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(sound, tmp_path / "state")
    return tmp_path / "state"


def test_sound_schedules_are_clean_and_counted(sound: Path) -> None:
    counts = Counts()
    assert list(verify(sound, counts, deep=True)) == []
    assert (counts.schedules, counts.occurrences) == (3, 5)


def schedule(schedule_id: str, change: str) -> str:
    return f"UPDATE schedules SET {change} WHERE schedule_id = '{schedule_id}'"


def number(schedule_id: str) -> str:
    return f"(SELECT schedule_no FROM schedules WHERE schedule_id = '{schedule_id}')"


def of(schedule_id: str, at: int) -> str:
    return f"WHERE schedule_no = {number(schedule_id)} AND at = {at}"


EVENT = f"UPDATE schedule_events SET {{}} WHERE schedule_no = {number(HOURLY)} AND event_id = {{}}"

BREAKS = {
    # Runs and occurrences
    "occurrence without its run": (
        [f"UPDATE occurrences SET run_id = 'run-gone' {of(HOURLY, HOUR)}"],
        "",
        f"schedule 'hourly' of project p: its occurrence {HOUR} has no run run-gone",
    ),
    "occurrence has the run of another": (
        [f"INSERT INTO occurrences VALUES ({number(HOURLY)}, {5 * HOUR}, '{FAILED}')"],
        "",
        f"its occurrence {5 * HOUR} has no run {FAILED}",
    ),
    "occurrence is forgotten": (
        [f"DELETE FROM occurrences {of(HOURLY, HOUR)}"],
        FAILED,
        f"the occurrence {HOUR} of its schedule has 'no run'",
    ),
    "occurrence is forgotten to have its run": (
        [
            f"UPDATE occurrences SET run_id = '' {of(QUEUE, HOUR)}",
            schedule(QUEUE, "queued = 3"),
        ],
        OPEN,
        f"the occurrence {HOUR} of its schedule has ''",
    ),
    "occurrence made two runs": (
        [f"UPDATE runs SET retry_of_run_id = '' WHERE run_id = '{RETRY}'"],
        "",
        f"its occurrence {HOUR} made 2 runs, such as {FAILED}",
    ),
    "occurrence of no schedule": (
        [f"UPDATE runs SET scheduled_for = {HOUR} WHERE run_id = '{PLAIN}'"],
        PLAIN,
        "it has an occurrence and no schedule",
    ),
    "run of a schedule that never was": (
        [f"UPDATE runs SET schedule_id = 'nobody' WHERE run_id = '{BY_HAND}'"],
        BY_HAND,
        "there is no schedule 'nobody' that made it",
    ),
    "row of occurrences of no schedule": (
        [f"INSERT INTO occurrences VALUES (99, {HOUR}, '')"],
        "",
        "a row of occurrences belongs to none of schedules",
    ),
    "row of skips of no schedule": (
        ["UPDATE skips SET schedule_no = 99"],
        "",
        "a row of skips (row 1) belongs to none of schedules",
    ),
    # Counts
    "active": ([schedule(QUEUE, "active = 0")], "", "it counts 0 active runs, there are 1"),
    "active, of a deleted one": ([schedule(DELETED, "active = 2")], "", "it counts 2 active runs, there are 1"),
    "queued": ([schedule(QUEUE, "queued = 3")], "", "it counts 3 queued occurrences, there are 2"),
    "queued occurrence is lost": (
        [f"DELETE FROM occurrences {of(QUEUE, 2 * HOUR)}"],
        "",
        "it counts 2 queued occurrences, there are 1",
    ),
    "skips are lost": (["DELETE FROM skips"], "", "it counts 2 skipped occurrences, there are 0"),
    # How it stands
    "paused and due": ([schedule(HOURLY, "is_paused = 1")], "", "it is paused or deleted, and due"),
    "deleted and due": ([schedule(DELETED, f"next_at = {HOUR}")], "", "it is paused or deleted, and due"),
    "spec that is none": ([schedule(HOURLY, "spec_json = '{}'")], "", "schedule 'hourly': its row cannot be read"),
    "spec that is no JSON": ([schedule(HOURLY, "spec_json = 'x'")], "", "schedule 'hourly': its row cannot be read"),
    # Events
    "health": ([schedule(HOURLY, "has_failed = 0")], "", "it is healthy, its last event says failing"),
    "stale": (
        [schedule(HOURLY, "has_failed = 0, is_stale = 1")],
        "",
        "it is stale, its last event says failing",
    ),
    "health without an event": (
        [schedule(QUEUE, "has_failed = 1")],
        "",
        "it is failing, without an event it is healthy",
    ),
    "event that does not follow": (
        [EVENT.format("payload_json = json_set(payload_json, '$.was', 'stale')", 2)],
        "",
        "event 2 (schedule.health_changed) says it was stale, the one before failing",
    ),
    "event that is no object": (
        [EVENT.format("payload_json = '[]'", 2)],
        "",
        "event 2 (schedule.health_changed) cannot",
    ),
    "event without its members": ([EVENT.format("payload_json = '{}'", 2)], "", "cannot be read: KeyError('was')"),
    "event is lost": (
        [f"DELETE FROM schedule_events WHERE schedule_no = {number(HOURLY)} AND event_id = 2"],
        "",
        "event 3 (schedule.health_changed) stands where 2 should",
    ),
    "last event is lost": (
        [f"DELETE FROM schedule_events WHERE schedule_no = {number(HOURLY)} AND event_id = 3"],
        "",
        "it counts 3 events, there are 2",
    ),
    "position given out twice": (
        ["UPDATE sqlite_sequence SET seq = 1 WHERE name = 'schedule_events'"],
        "",
        "the highest position is",
    ),
    "number given out twice": (
        ["UPDATE sqlite_sequence SET seq = 1 WHERE name = 'schedules'"],
        "",
        "the highest schedule_no is 3, the last given out 1",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_schedule_is_found(state: Path, name: str) -> None:
    statements, run_id, what = BREAKS[name]
    execute(state, *statements)
    found = violations(state)
    assert any(violation.run_id == run_id and what in violation.what for violation in found), found
