"""How far runs that clients create may be nested."""

from __future__ import annotations

import pytest
from runsd_client import AsyncRunsClient, InvalidRequestError, NewRun


async def test_a_client_cannot_nest_deeper_either(client: AsyncRunsClient) -> None:
    run_id = ""
    for _ in range(33):
        made = await client.create_task_run("task:true", parent_run_id=run_id or None, start_after_seconds=600)
        run_id = made.run.run_id
    with pytest.raises(InvalidRequestError, match="parent_run_id: nested deeper than 32 runs"):
        await client.create_task_run("task:true", parent_run_id=run_id)
    with pytest.raises(InvalidRequestError, match=r"requests\[1\].parent_run_id: nested deeper"):
        runs = [NewRun("task:true"), NewRun("task:true", parent_run_id=run_id)]
        await client.batch_create(runs)
