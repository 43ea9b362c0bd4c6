"""The load as users of the Python client make it: `AsyncRunsClient`, its messages and its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runsd_client import AsyncRunsClient, NewRun

from tests.bench.closed_loop import rate
from tests.bench.watching import RunEndedBadly, current_position, endings_seen_by

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub

INPUT = {"name": "sync-data", "batch_size": 100}


class PythonClient:
    def __init__(self, client: AsyncRunsClient, stub: RunsAsyncStub) -> None:
        self._client = client
        self._stub = stub

    async def followed_per_second(self, target: str, outstanding: int, seconds: float) -> float:
        """From `create` to the terminal event, as `watch` gives it."""
        run = NewRun(target, name="bench", input=INPUT)
        async with endings_seen_by(self._client, await current_position(self._stub)) as endings:

            async def one() -> None:
                answer = await self._client.create(run)
                await endings.of(answer.run.run_id)

            return await rate(one, outstanding, seconds)

    async def waited_per_second(self, target: str, outstanding: int, seconds: float) -> float:
        """From `create` to the record of the run that has ended, as `wait` gives it."""
        run = NewRun(target, name="bench", input=INPUT)

        async def one() -> None:
            answer = await self._client.create(run)
            ended = await self._client.wait(answer.run.run_id)
            if ended.status != "completed":
                raise RunEndedBadly(f"{ended.run_id}: {ended.status} {ended.error}")

        return await rate(one, outstanding, seconds)
