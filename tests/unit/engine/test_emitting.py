"""Workflows that tell much at once: told what to do where they cannot wait, made to wait where they can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runsd.engine.workflows.recorder import MAX_WAITING
from runsd.model.events import EventType, decode
from runsd.model.run import ErrorCode
from runsd.model.settings import Limits
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Room, room


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


async def test_too_many_events_without_an_await_are_refused_with_what_to_do(here: Room) -> None:
    async def program(ctx: WorkflowContext, input: Any) -> None:
        for _ in range(MAX_WAITING + 1):
            ctx.emit("told")

    outcome = await here.execute(await here.start(await here.create()), program)
    assert outcome.error is not None and outcome.error.code == ErrorCode.EXCEPTION
    assert outcome.error.message == (
        "BufferError: 20,000 events wait to be written, and nothing was awaited in which they could be; await a step "
        "between them (within a step: `asyncio.sleep(0.1)`), or tell more in one event"
    )
    # Where in its own code; what runsd did before is of no interest.
    assert "in program" in outcome.error.detail_json and "in _execute_body" not in outcome.error.detail_json


async def test_step_of_a_workflow_that_told_too_much_is_recorded(here: Room) -> None:
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> Any:
        async def both() -> Any:
            return await ctx.parallel(ctx.step("a", lambda: 1), tell())

        async def tell() -> int:
            with pytest.raises(BufferError):
                for _ in range(MAX_WAITING + 1):
                    ctx.emit("told")
            return 2

        return await both()

    outcome = await here.execute(await here.start(run_id), program)
    assert outcome.error is None and outcome.output_json == "[1,2]"
    told = [event for event in await here.events(run_id) if event.event_type == "told"]
    assert MAX_WAITING - 10 <= len(told) <= MAX_WAITING


async def test_what_a_thread_tells_is_on_disk_in_order_before_its_step_ends(here: Room) -> None:
    run_id = await here.create()

    async def program(ctx: WorkflowContext, input: Any) -> None:
        def tell() -> None:
            for number in range(3500):
                ctx.emit("told", {"number": number})

        await ctx.step("tell", tell)

    assert (await here.execute(await here.start(run_id), program)).error is None
    types = [(event.event_type, decode(event.payload_json).get("number")) for event in await here.events(run_id)]
    told = types[types.index((EventType.STEP_STARTED, None)) + 1 : types.index((EventType.STEP_COMPLETED, None))]
    assert told == [("told", number) for number in range(3500)]


async def test_thread_that_tells_for_ever_fails_its_run_and_ends(here: Room) -> None:
    has_ended = threading.Event()

    async def program(ctx: WorkflowContext, input: Any) -> None:
        def tell() -> None:
            try:
                while True:
                    ctx.emit("told", {"text": "x" * 1000})
            finally:
                has_ended.set()

        await ctx.step("tell", tell)

    spec = (await here.start(await here.create()))._replace(limits=Limits(output_bytes=100_000))
    outcome = await here.execute(spec, program)
    assert outcome.error is not None and outcome.error.code == ErrorCode.OUTPUT_LIMIT
    assert await asyncio.to_thread(has_ended.wait, 30)
