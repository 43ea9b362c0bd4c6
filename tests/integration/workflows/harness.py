"""How the tests start workflows, watch them, and look at what is left of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from runsd_client import AsyncRunsClient, Event, Run, RunStatus
from runsd_client.values import Step

from tests.integration.daemon import Daemon


async def start(client: AsyncRunsClient, workflow_id: str, input: Any = None, **options: Any) -> str:
    return (await client.create_workflow_run(workflow_id, input=input, **options)).run.run_id


async def ended(client: AsyncRunsClient, run_id: str) -> Run:
    return await client.wait(run_id, timeout=30)


async def execute(client: AsyncRunsClient, workflow_id: str, input: Any = None, **options: Any) -> Run:
    return await ended(client, await start(client, workflow_id, input, **options))


async def completed(client: AsyncRunsClient, run_id: str) -> Any:
    """The output of a run that completes."""
    run = await ended(client, run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    return run.output


async def failed(client: AsyncRunsClient, run_id: str, code: str) -> Run:
    run = await ended(client, run_id)
    assert run.status is RunStatus.FAILED and run.error is not None, run
    assert run.error.code == code, run.error
    return run


async def until(client: AsyncRunsClient, run_id: str, event_type: str, count: int = 1, **payload: Any) -> Event:
    """The `count`-th event of this type whose payload has these members."""
    async with aclosing(client.follow(run_id)) as events:
        async for event in events:
            if event.event_type == event_type and payload.items() <= event.payload.items():
                count -= 1
                if not count:
                    return event
    raise AssertionError(f"{run_id} ended without {event_type} {payload}")


async def until_waiting(client: AsyncRunsClient, run_id: str, count: int = 1) -> Run:
    """The run as it waits for the `count`-th time."""
    await until(client, run_id, "run.waiting", count)
    return await client.get(run_id)


async def until_marked(client: AsyncRunsClient, run_id: str, step_id: str, attempt: int = 1) -> None:
    await until(client, run_id, "step.started", step_id=step_id, attempt=attempt)


async def events_of(client: AsyncRunsClient, run_id: str) -> list[Event]:
    return [event async for event in client.replay(run_id)]


def types(events: Sequence[Event], prefix: str = "") -> list[str]:
    return [event.event_type for event in events if event.event_type.startswith(prefix)]


def steps(run: Run) -> dict[str, Step]:
    return {step.step_id: step for step in run.steps}


def states(run: Run) -> dict[str, str]:
    return {step.step_id: step.state.value for step in run.steps}


def marks(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@asynccontextmanager
async def killed_and_started(daemon: Daemon) -> AsyncIterator[AsyncRunsClient]:
    """The daemon ends as in a power cut, and comes again."""
    daemon.kill()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        yield client
