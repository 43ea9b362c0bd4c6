"""What comes from outside at the very moment at which a workflow is taken into memory or let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runsd.engine.workflows.letting_go import record_wait
from runsd.engine.workflows.waits import Wait, Waits
from runsd.model.errors import NotPossible
from runsd.model.events import EventType, decode
from runsd.model.run import RunStatus, moment_of
from runsd.model.steps import StepKind
from runsd.sdk.step_options import Retry
from runsd.sdk.step_outcomes import WaitTimeout
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Program, Room, room


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


async def execute(here: Room, run_id: str, program: Program) -> str:
    """Takes the run up as often as it was let go for something that has come."""
    spec = await here.start(run_id)
    while (outcome := await here.execute(spec, program)).is_waiting:
        assert await here.store.queries.startable(2**60, 10, ["p"], [], []), "nothing would ever wake it"
        spec = await here.resume(run_id)
    assert outcome.error is None, outcome.error
    return outcome.output_json


def just_before_it_waits(here: Room, monkeypatch: pytest.MonkeyPatch, come: Callable[[], Awaitable[Any]]) -> None:
    """`come` is committed between the decision to let the workflow go and the transaction that does."""
    insist = here.store.journal.insist
    has_come = False

    async def interfering(change: Any) -> Any:
        nonlocal has_come
        if isinstance(change, partial) and change.func is record_wait and not has_come:
            has_come = True
            await come()
        return await insist(change)

    monkeypatch.setattr(here.store.journal, "insist", interfering)


async def test_signal_that_comes_while_it_is_let_go(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await here.create()
    just_before_it_waits(here, monkeypatch, lambda: here.signal(run_id, "go", "1"))

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        return await ctx.wait_for_signal("go")

    assert await execute(here, run_id, program) == "1"


async def test_decision_that_comes_while_it_is_let_go(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await here.create()
    just_before_it_waits(here, monkeypatch, lambda: here.approve(run_id, "review"))

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        return (await ctx.wait_for_approval("review")).approved

    assert await execute(here, run_id, program) == "true"


async def test_deadline_that_is_met_while_it_is_let_go(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on meanwhile is held back, and done again."""
    run_id = await here.create()
    executed: list[int] = []
    just_before_it_waits(here, monkeypatch, lambda: asyncio.sleep(0.3))

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        await ctx.sleep(0.25)
        await ctx.step("once", lambda: executed.append(1))

    await execute(here, run_id, program)
    assert executed == [1]
    types = [event.event_type for event in await here.events(run_id)]
    assert types.count("step.completed") == 2


async def test_cancellation_that_comes_while_it_is_let_go(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await here.create()
    asked = asyncio.Event()

    async def ask() -> None:
        await here.record(run_id, EventType.CANCEL_REQUESTED, {})
        asked.set()

    just_before_it_waits(here, monkeypatch, ask)

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        return await ctx.wait_for_signal("go")

    spec = await here.start(run_id)
    execution = await here.begin(spec, program)
    async with asyncio.TaskGroup() as group:
        ending = group.create_task(execution.ended())
        # As whoever supervises it does when it sees the request.
        await asked.wait()
        await execution.stop(1)
    outcome = ending.result().outcome
    await execution.close()
    assert not outcome.is_waiting and outcome.error is not None
    assert (await here.store.queries.run(run_id)).status is RunStatus.RUNNING


@pytest.mark.parametrize("is_fresh", [True, False])
async def test_signal_that_comes_before_it_is_in_memory_is_noticed_at_once(here: Room, is_fresh: bool) -> None:
    """While it is busy it is not let go, which would bring the signal to light as well."""
    run_id = await here.create()
    noticed = asyncio.Event()

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        async def notice() -> None:
            await ctx.wait_for_signal("go")
            noticed.set()

        await ctx.parallel(notice(), ctx.step("busy", noticed.wait))

    if not is_fresh:
        await here.signal(run_id, "other")
    spec = await here.start(run_id)
    await here.signal(run_id, "go")
    outcome = await asyncio.wait_for(here.execute(spec, program), 30)
    assert outcome.error is None


async def test_decision_after_the_expiry_is_refused_before_the_workflow_has_noticed(here: Room) -> None:
    """Its daemon was away, or has other things to do: the record alone says that it is too late."""
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        with pytest.raises(WaitTimeout):
            await ctx.wait_for_approval("review", timeout=0)
        return (await ctx.wait_for_approval("again", timeout="1h")).approved

    await here.start(run_id)
    place = {"step_id": "review", "name": "review"}
    begun = place | {"kind": "approval", "attempt": 1, "until": "2026-01-01T00:00:00Z"}
    asked = place | {"expires_at": "2026-01-01T00:00:00Z"}
    await here.tell(run_id, EventType.STEP_STARTED, begun)
    await here.tell(run_id, EventType.APPROVAL_REQUESTED, asked)
    with pytest.raises(NotPossible, match="approval 'review' has expired"):
        await here.approve(run_id, "review")
    await here.record(run_id, EventType.INTERRUPTED, {})
    assert (await here.execute(await here.start(run_id), program)).is_waiting
    await here.approve(run_id, "again")
    outcome = await here.execute(await here.resume(run_id), program)
    assert (outcome.error, outcome.output_json) == (None, "true")


FAILED = {"message": "no good", "code": "exception"}


@pytest.mark.parametrize(
    ("retry", "hours"),
    [
        (Retry(9, "fixed", "1h", "9h"), [1, 1, 1, 1, 1]),
        (Retry(9, "linear", "1h", "9h"), [1, 2, 3, 4, 5]),
        (Retry(9, "exponential", "1h", "9h"), [1, 2, 4, 8, 9]),
    ],
    ids=["fixed", "linear", "exponential"],
)
@pytest.mark.parametrize("failures", range(5))
async def test_next_attempt_of_a_step_is_as_far_off_as_its_retry_says(
    here: Room, retry: Retry, hours: list[int], failures: int
) -> None:
    """Failures before are only told in the record, so that nobody has to wait for what follows them."""
    run_id = await here.create()
    step = {"step_id": "work", "name": "work", "kind": "function"}

    def work() -> None:
        raise ValueError("no good")

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        await ctx.step("work", work, retry=retry)

    await here.start(run_id)
    for attempt in range(1, failures + 1):
        await here.tell(run_id, EventType.STEP_STARTED, step | {"attempt": attempt})
        end = step | {"attempt": attempt, "error": FAILED, "retry_at": "2026-01-01T00:00:00Z"}
        await here.tell(run_id, EventType.STEP_FAILED, end)
    await here.record(run_id, EventType.INTERRUPTED, {})
    assert (await here.execute(await here.start(run_id), program)).is_waiting
    failed = [event for event in await here.events(run_id) if event.event_type == EventType.STEP_FAILED]
    assert len(failed) == failures + 1
    payload = decode(failed[-1].payload_json)
    assert payload["attempt"] == failures + 1
    retry_at = moment_of(payload, "retry_at")
    assert retry_at is not None
    # Give or take a fifth.
    assert (retry_at - failed[-1].created_at) / 3600e6 == pytest.approx(hours[failures], rel=0.21)


async def test_what_is_told_before_the_end_of_a_branch_is_told_once(here: Room) -> None:
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        async def branch(name: str) -> None:
            ctx.emit("begun", {"name": name})
            await ctx.step(name, lambda: None)
            ctx.emit("ended", {"name": name})

        for name in ("one", "two", "three"):
            await ctx.parallel(branch(name), ctx.wait_for_signal(name), name=name)

    spec = await here.start(run_id)
    for name in ("one", "two", "three"):
        assert (await here.execute(spec, program)).is_waiting
        await here.signal(run_id, name)
        spec = await here.resume(run_id)
    assert (await here.execute(spec, program)).error is None
    told = [event for event in await here.events(run_id) if event.event_type in ("begun", "ended")]
    assert [(event.event_type, decode(event.payload_json)["name"]) for event in told] == [
        (event_type, name) for name in ("one", "two", "three") for event_type in ("begun", "ended")
    ]  # fmt: skip


async def in_a_group(waits: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait) for wait in waits]
    return [task.result() for task in tasks]


async def waited_for(waits: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks)
    return [task.result() for task in tasks]


async def gathered(waits: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await asyncio.gather(*waits)


@pytest.mark.parametrize("together", [in_a_group, waited_for, gathered])
async def test_waits_in_tasks_of_its_own_pause_it(
    here: Room, together: Callable[[Sequence[Coroutine[Any, Any, Any]]], Awaitable[list[Any]]]
) -> None:
    """In memory it would keep its place, and an end of the daemon would be an interruption of it."""
    run_id = await here.create()
    told: list[Any] = []

    async def program(ctx: WorkflowContext, input: Any) -> None:
        told.append(await together([ctx.wait_for_signal("one"), ctx.wait_for_signal("two")]))

    assert (await asyncio.wait_for(here.execute(await here.start(run_id), program), 30)).is_waiting
    await here.signal(run_id, "two", "2")
    assert (await asyncio.wait_for(here.execute(await here.resume(run_id), program), 30)).is_waiting
    await here.signal(run_id, "one", "1")
    assert (await asyncio.wait_for(here.execute(await here.resume(run_id), program), 30)).error is None
    assert told == [[1, 2]]


async def test_group_with_other_work_in_it_does_not_only_wait() -> None:
    waits, at_work = Waits(), asyncio.Event()
    tasks: set[asyncio.Task[Any]] = set()

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            tasks.add(group.create_task(waits.wait(Wait((StepKind.SIGNAL, "never")))))
            tasks.add(group.create_task(at_work.wait()))

    async with asyncio.TaskGroup() as around:
        tasks.add(task := around.create_task(body()))
        await until_still()
        assert not waits.is_all(tasks)
        at_work.set()
        await until_still()
        assert waits.is_all(tasks)
        task.cancel()


async def until_still() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
