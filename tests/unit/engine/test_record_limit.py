"""A workflow's record has an end: what would go on for ever fails, and is undone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runsd.model import record_size
from runsd.model.attempt import Outcome
from runsd.model.errors import NotPossible
from runsd.model.record_size import MAX_EVENTS
from runsd.model.run import ErrorCode
from runsd.sdk.step_options import Retry
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Program, Room, room


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


def is_full(outcome: Outcome, limit: str) -> bool:
    assert outcome.error is not None and outcome.error.code == ErrorCode.RECORD_LIMIT, outcome
    assert limit in outcome.error.message and "split its work into runs below it" in outcome.error.message
    return not outcome.may_retry


async def execute(here: Room, program: Program) -> tuple[str, Outcome]:
    run_id = await here.create()
    return run_id, await here.execute(await here.start(run_id), program)


async def test_endless_loop_fails(here: Room) -> None:
    async def program(ctx: WorkflowContext, input: Any) -> None:
        while True:
            await ctx.sleep(0)

    run_id, outcome = await execute(here, program)
    assert is_full(outcome, "50,000 events")
    events, _ = await here.store.queries.history_events(run_id)
    assert MAX_EVENTS <= len(events) < MAX_EVENTS + 10


async def test_its_steps_are_undone_all_the_same(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)
    undone: list[int] = []

    async def program(ctx: WorkflowContext, input: Any) -> None:
        for number in range(3):
            ctx.on_failure(undone.append, number)
        while True:
            with suppress(Exception):
                await ctx.step("x", int)

    _, outcome = await execute(here, program)
    assert is_full(outcome, "40 events") and undone == [2, 1, 0]


async def test_large_results_count_by_their_size(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_MIB", 2)
    executed: list[None] = []

    def large() -> str:
        executed.append(None)
        return "x" * 1_000_000

    async def program(ctx: WorkflowContext, input: Any) -> None:
        while True:
            await ctx.step("large", large)

    _, outcome = await execute(here, program)
    assert is_full(outcome, "2 MiB") and len(executed) == 3


async def test_retries_count_too(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)
    attempts: list[None] = []

    def fail() -> None:
        attempts.append(None)
        raise ValueError("as always")

    async def program(ctx: WorkflowContext, input: Any) -> None:
        await ctx.step("fails", fail, retry=Retry(max_attempts=1000, initial_delay=0, max_delay=0))

    _, outcome = await execute(here, program)
    assert is_full(outcome, "40 events") and len(attempts) == 20


async def test_recorded_values_count_too(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)
    values: list[float] = []

    async def program(ctx: WorkflowContext, input: Any) -> None:
        while True:
            values.append(ctx.random())

    _, outcome = await execute(here, program)
    assert is_full(outcome, "40 events") and len(values) == 40


async def test_signals_that_nobody_waits_for_count_too(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)

    async def program(ctx: WorkflowContext, input: Any) -> None:
        await ctx.wait_for_signal("go")
        await ctx.step("x", int)

    run_id, outcome = await execute(here, program)
    assert outcome.is_waiting
    await here.signal(run_id, "go", "")
    for number in range(37):
        await here.signal(run_id, "other", str(number))
    assert is_full(await here.execute(await here.resume(run_id), program), "40 events")


async def test_signals_alone_do_not_end_a_run(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)

    async def program(ctx: WorkflowContext, input: Any) -> None:
        await ctx.wait_for_signal("go")

    run_id, _ = await execute(here, program)
    for number in range(38):
        await here.signal(run_id, "other", str(number))
    with pytest.raises(NotPossible, match="would fill its record, which takes 40 events"):
        await here.signal(run_id, "other", "38")
    assert (await here.execute(await here.resume(run_id), program)).is_waiting


async def test_what_is_emitted_does_not_count(here: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_size, "MAX_EVENTS", 40)

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        for number in range(100):
            ctx.emit("told", {"number": number})
        return await ctx.step("x", int)

    _, outcome = await execute(here, program)
    assert outcome.error is None and outcome.output_json == "0"
