"""`runsd verify` of workflows: sound ones are clean, and each way of breaking one is found."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from runsd.adapters.directory import RunFiles
from runsd.engine.verification import verify
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.events import Draft, EventType, Raw, encode
from runsd.model.targets import Target
from runsd.store.journal import Journal
from runsd.store.store import open_store
from runsd.store.transaction import Transaction
from runsd.store.verification import Counts
from tests.unit.store.test_verification import execute, run_no, violations

FLOW, CHILD, RETRIED, AGAIN, WAITING, TASK = (
    f"run-{name}" for name in ("flow", "child", "retried", "again", "waiting", "task")
)
ERROR = {"message": "no", "code": "exception"}
# Of the waiting run; microseconds since 1970.
UNTIL, UNTIL_TEXT = 4_102_444_800_000_000, "2100-01-01T00:00:00.000000Z"


def step(what: str, step_id: str, kind: str = "function", **more: Any) -> Draft:
    return Draft(f"step.{what}", encode({"step_id": step_id, "name": step_id, "kind": kind, **more}))


def event(event_type: str, **payload: Any) -> Draft:
    return Draft(event_type, encode(payload))


# Event ids 3 to 24: the run is created and started before, and completed after.
FLOW_EVENTS = (
    step("completed", "~now", "value", output=Raw('"2026-01-01T00:00:00"')),
    step("started", "one", attempt=1),
    step("failed", "one", attempt=1, error=ERROR, retry_at="2026-01-01T00:00:01.000000Z"),
    step("started", "one", attempt=2),
    step("completed", "one", attempt=2, output=Raw("1")),
    step("started", "all", "map", attempt=1),
    step("started", "all[0]", attempt=1),
    step("completed", "all[0]", attempt=1),
    step("started", "all[1]", "run", attempt=1, child_run_id=CHILD, detail="task:t"),
    step("completed", "all[1]", "run", attempt=1, child_run_id=CHILD, output=Raw("2")),
    step("completed", "all", "map"),
    event("signal", name="go", idempotency_key="first"),
    event("signal", name="go", idempotency_key="second"),
    step("started", "go", "signal", attempt=1),
    step("completed", "go", "signal", signal_event_id=14),
    step("started", "review", "approval", attempt=1),
    event("approval.requested", step_id="review", name="review", approvers=["ann"]),
    event("approval.decided", step_id="review", name="review", approved=True, by="ann"),
    step("completed", "review", "approval", output={"name": "review", "approved": True}),
    step("skipped", "two", reason="not wanted"),
    step("started", "three", attempt=1),
    step("completed", "three", attempt=1),
)


async def write_flows(directory: Path) -> None:
    RunFiles(directory).prepare()
    async with open_store(directory, logs_limit=100) as store:
        writing = asyncio.create_task(store.journal.run())
        await _write_runs(store.journal)
        store.journal.stop()
        await writing


async def _write_runs(journal: Journal) -> None:
    await journal.change(_created(FLOW, "workflow:w"))
    await journal.change(_created(CHILD, "task:t", FLOW))
    for run_id in (RETRIED, AGAIN, WAITING):
        await journal.change(_created(run_id, "workflow:w"))
    await journal.change(_created(TASK, "task:t"))
    await journal.change(lambda t: _executed(t, CHILD, "inprocess"))
    await journal.change(lambda t: _executed(t, FLOW, "workflow", *FLOW_EVENTS))
    await journal.change(_retry_and_interrupt)
    await journal.change(_go_on)
    await journal.change(_wait)
    await journal.change(lambda t: _executed(t, TASK, "inprocess", event("signal", name="nobody waits")))


def _created(run_id: str, target: str, parent: str = "") -> Any:
    request = CreateRequest(target=target, parent_run_id=parent)
    new = NewRun(run_id, "p", Target.parse(target), request, 0.0, 3)

    def change(transaction: Transaction) -> None:
        transaction.create(new.created_payload(parent or run_id, transaction.now), new.documents, b"")

    return change


def _started(transaction: Transaction, run_id: str, adapter: str) -> None:
    stored = transaction.get(run_id)
    payload = {"attempt": stored.run.attempt + 1, "adapter": adapter}
    transaction.open_attempt(transaction.record(stored, EventType.STARTED, payload), adapter)


def _executed(transaction: Transaction, run_id: str, adapter: str, *drafts: Draft) -> None:
    _started(transaction, run_id, adapter)
    stored = transaction.emit(transaction.get(run_id), drafts)
    transaction.record(stored, EventType.COMPLETED, {})


def _retry_and_interrupt(transaction: Transaction) -> None:
    """The step that failed the run is done again, as are a group that was under way and an approval."""
    _started(transaction, RETRIED, "workflow")
    drafts = [
        step("started", "kept", attempt=1),
        step("completed", "kept", attempt=1),
        step("started", "side", "parallel", attempt=1),
        step("started", "ask", "approval", attempt=1),
        event("approval.requested", step_id="ask", name="ask"),
        event("approval.decided", step_id="ask", name="ask", approved=True),
        step("started", "bad", attempt=1),
        step("failed", "bad", attempt=1, error=ERROR),
    ]
    stored = transaction.emit(transaction.get(RETRIED), drafts)
    transaction.record(stored, EventType.RETRYING, {"attempt": 1, "error": ERROR, "step_id": "bad"})
    _started(transaction, RETRIED, "workflow")
    drafts = [
        step("started", "ask", "approval", attempt=2),
        event("approval.requested", step_id="ask", name="ask"),
        step("started", "bad", attempt=2),
    ]
    stored = transaction.emit(transaction.get(RETRIED), drafts)
    transaction.record(stored, EventType.INTERRUPTED, {"attempt": 2, "error": ERROR})
    drafts = [
        step("started", "bad", attempt=3),
        step("completed", "bad", attempt=3),
        event("approval.decided", step_id="ask", name="ask", approved=True),
        step("completed", "ask", "approval"),
        step("completed", "side", "parallel"),
    ]
    _executed(transaction, RETRIED, "workflow", *drafts)


def _go_on(transaction: Transaction) -> None:
    """As a run that keeps the steps of one that failed."""
    drafts = (
        step("completed", "one", from_run_id=FLOW),
        step("completed", "all", "map", from_run_id=FLOW),
        step("completed", "all[1]", "run", child_run_id=CHILD, from_run_id=FLOW),
        step("completed", "review", "approval", from_run_id=FLOW),
    )
    transaction.emit(transaction.get(AGAIN), drafts)
    _executed(transaction, AGAIN, "workflow")


def _wait(transaction: Transaction) -> None:
    _started(transaction, WAITING, "workflow")
    stored = transaction.emit(transaction.get(WAITING), [step("started", "sleep", "sleep", until=UNTIL_TEXT)])
    transaction.wait(stored, {"reason": "sleep", "until": UNTIL_TEXT})


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("flows")
    asyncio.run(write_flows(directory))
    return directory


@pytest.fixture
def state(sound: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(sound, tmp_path / "state")
    return tmp_path / "state"


def test_sound_flows_are_clean_and_counted(sound: Path) -> None:
    counts = Counts()
    assert list(verify(sound, counts, deep=True)) == []
    assert counts.runs == {"completed": 5, "waiting": 1}
    assert counts.steps == len({"~now", "one", "all", "all[0]", "all[1]", "go", "review", "two", "three"}) + 4 + 4 + 1


def changed(event_id: int, draft: Draft, run_id: str = FLOW) -> str:
    values = f"event_type = '{draft.event_type}', payload_json = '{draft.payload_json}'"
    return f"UPDATE events SET {values} WHERE run_no = {run_no(run_id)} AND event_id = {event_id}"


WAIT = f"UPDATE waits SET {{}} WHERE run_no = {run_no(WAITING)}"

BREAKS = {
    # Invariant 9
    "completed step started again": (
        [changed(23, step("started", "one", attempt=3)), changed(24, step("completed", "one", attempt=3))],
        FLOW,
        "event 23 (step.started): step 'one' was completed already",
    ),
    "completed twice": ([changed(24, step("completed", "one"))], FLOW, "step 'one' was completed already"),
    "completed step fails": (
        [changed(24, step("failed", "one", attempt=2, error=ERROR))],
        FLOW,
        "event 24 (step.failed): step 'one' was completed already",
    ),
    "completed step is left out": ([changed(22, step("skipped", "all[0]"))], FLOW, "'all[0]' was completed already"),
    "skipped step started": ([changed(23, step("started", "two", attempt=1))], FLOW, "'two' was skipped already"),
    "kept step done again": (
        [changed(15, step("completed", "kept"), RETRIED)],
        RETRIED,
        "event 15 (step.completed): step 'kept' was completed already",
    ),
    "failed step done again without a retry of the run": (
        [changed(5, step("failed", "one", attempt=1, error=ERROR))],
        FLOW,
        "event 6 (step.started): step 'one' was failed already",
    ),
    # The fold
    "completed without a beginning": (
        [changed(23, event("custom"))],
        FLOW,
        "event 24 (step.completed): step 'three' had not been started",
    ),
    "completed after an interruption without a beginning": (
        [changed(18, event("custom"), RETRIED)],
        RETRIED,
        "step 'bad' had not been started",
    ),
    "group without a beginning": ([changed(8, event("custom"))], FLOW, "step 'all' had not been started"),
    "kind": (
        [changed(24, step("completed", "three", "sleep"))],
        FLOW,
        "step 'three' is of kind function, here sleep",
    ),
    "no such kind": ([changed(23, step("started", "three", "x"))], FLOW, "event 23 (step.started) does not fold"),
    "step without id": ([changed(23, event("step.started", name="x"))], FLOW, "event 23 (step.started) does not fold"),
    "step of a task": ([changed(3, step("started", "one", attempt=1), TASK)], TASK, "a task has no steps"),
    # Signals
    "signal key twice": (
        [changed(15, event("signal", name="go", idempotency_key="first"))],
        FLOW,
        "event 15 (signal): idempotency key 'first' made a signal before",
    ),
    "signal taken twice": (
        [
            changed(23, step("started", "go#2", "signal")),
            changed(24, step("completed", "go#2", "signal", signal_event_id=14)),
        ],
        FLOW,
        "step 'go#2' took the signal of event 14, as another step had",
    ),
    "signal of no event": (
        [changed(17, step("completed", "go", "signal", signal_event_id=16))],
        FLOW,
        "step 'go' took the signal of event 16, which is none",
    ),
    # Approvals
    "decided twice": (
        [changed(22, event("approval.decided", step_id="review", name="review", approved=True, by="ann"))],
        FLOW,
        "event 22 (approval.decided): approval step 'review' had been decided already",
    ),
    "decided after the end": (
        [changed(22, event("approval.decided", step_id="review", name="review", approved=False, by="ann"))],
        FLOW,
        "event 22 (approval.decided): approval step 'review' was completed already",
    ),
    "never asked for": ([changed(19, event("custom"))], FLOW, "approval step 'review' was not asked for"),
    "asked of no step": (
        [changed(19, event("approval.requested", step_id="one", name="one"))],
        FLOW,
        "step 'one' does not wait for an approval",
    ),
    "asked twice": (
        [changed(20, event("approval.requested", step_id="review", name="review"))],
        FLOW,
        "event 20 (approval.requested): approval step 'review' had been asked for already",
    ),
    "not one of the approvers": (
        [changed(20, event("approval.decided", step_id="review", name="review", approved=True, by="bob"))],
        FLOW,
        "approval step 'review' was not for 'bob' to decide",
    ),
    "completed and not approved": (
        [changed(20, event("approval.decided", step_id="review", name="review", approved=False, by="ann"))],
        FLOW,
        "approval step 'review' had not been approved",
    ),
    # Children
    "child of two steps": (
        [changed(23, step("started", "three", "run", child_run_id=CHILD))],
        FLOW,
        f"run {CHILD} is begun by two steps, or twice",
    ),
    "child of nobody": (
        [changed(11, step("started", "all[1]", "run", child_run_id="run-gone"))],
        FLOW,
        "run run-gone, which a step began, is gone",
    ),
    "child of another": (
        [changed(11, step("started", "all[1]", "run", child_run_id=TASK))],
        FLOW,
        f"run {TASK}, which a step began, is below ''",
    ),
    "child that outlives it": (
        [f"UPDATE runs SET status = 'running' WHERE run_id = '{CHILD}'"],
        FLOW,
        f"it is completed, and run {CHILD}, which a step began, is running",
    ),
    # Waits
    "wait lost": ([f"DELETE FROM waits WHERE run_no = {run_no(WAITING)}"], WAITING, "it is waiting and has no row"),
    "wait left": ([f"INSERT INTO waits VALUES ({run_no(FLOW)}, 0)"], FLOW, "it is completed and has a row in waits"),
    "wait of no run": (["INSERT INTO waits VALUES (99, 0)"], "", "a row of waits (row 99) belongs to none of runs"),
    "other moment": ([WAIT.format("wake_at = 5")], WAITING, f"it is to go on at 5, its record says {UNTIL}"),
    "no moment": ([WAIT.format("wake_at = NULL")], WAITING, "it is to go on at None"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_broken_flow_is_found(state: Path, name: str) -> None:
    statements, run_id, what = BREAKS[name]
    execute(state, *statements)
    found = violations(state)
    assert any(violation.run_id == run_id and what in violation.what for violation in found), found
    # The child's own events are held against it too; strangers are not.
    assert {violation.run_id for violation in found} <= {run_id, "", *({CHILD} if run_id == FLOW else ())}


def test_woken_run_is_sound(state: Path) -> None:
    execute(state, WAIT.format("wake_at = 0"))
    assert violations(state) == []
