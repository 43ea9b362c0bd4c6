"""What a workflow that executes in one go costs: one change for its step and its end, and no garbage."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runsd.engine.workflows.recorder import LET_GATHER_SECONDS
from runsd.model.events import EventType
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Room, room


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as made:
        yield made


async def keep_the_loop_busy() -> None:
    end = time.monotonic() + 2 * LET_GATHER_SECONDS
    while time.monotonic() < end:
        pass


async def one_step(ctx: WorkflowContext, input: Any) -> None:
    await ctx.step("busy", keep_the_loop_busy)


async def test_step_is_written_with_the_end_also_when_the_loop_is_busy(here: Room) -> None:
    execution = await here.begin(await here.start(await here.create()), one_step)
    ended = await execution.ended()
    await execution.close()
    written_with_the_end = [draft.event_type for draft in ended.rest.drafts]
    assert written_with_the_end == [EventType.STEP_STARTED, EventType.STEP_COMPLETED]


async def test_execution_that_has_ended_is_freed_without_the_garbage_collector(here: Room) -> None:
    execution = await here.begin(await here.start(await here.create()), one_step)
    gc.disable()
    try:
        await execution.ended()
        await execution.close()
        alive = weakref.ref(execution)
        del execution
        assert alive() is None
    finally:
        gc.enable()
