"""How far runs may be nested."""

from __future__ import annotations

from runsd_client import AsyncRunsClient, RunStatus

from tests.integration.workflows.harness import completed, ended, execute, start, steps

MOST = 32


async def test_runs_nest_as_deep_as_is_allowed(client: AsyncRunsClient) -> None:
    # The task is one below the last of the workflows.
    run_id = await start(client, "family", {"depth": MOST - 1, "value": 5})
    assert (await completed(client, run_id))[0] == MOST - 1


async def test_one_run_deeper_fails_the_step_that_starts_it(client: AsyncRunsClient) -> None:
    run = await execute(client, "family", {"depth": MOST, "value": 5})
    assert run.status is RunStatus.FAILED and run.error is not None
    assert "nested deeper than 32 runs" in run.error.message
    depth = 0
    while run.steps and run.steps[0].child_run_id:
        run = await ended(client, next(iter(steps(run).values())).child_run_id)
        depth += 1
    assert depth == MOST + 1
    assert run.error is not None and (run.error.code, run.started_at) == ("invalid_request", None)
