"""One long process and one follower, through a daemon that is killed ten times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from runsd_client import AsyncRunsClient

from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import Daemon
from tests.integration.test_daemon import runs_command

NUMBERS = 800
KILLS = 10
SCRIPT = f"i=1; while [ $i -le {NUMBERS} ]; do echo $i; i=$((i+1)); sleep 0.01; done; exit 9"


async def test_output_and_events_are_whole_through_ten_kills(make_daemon: Callable[..., Daemon]) -> None:  # noqa: F811
    daemon = make_daemon()
    daemon.start()
    chance = random.Random(20261124)
    async with AsyncRunsClient(daemon.address) as client:
        run_id = (await client.create_task_run("task:script", input=SCRIPT)).run.run_id
        following = asyncio.create_task(followed(client, run_id))
        for _ in range(KILLS):
            # At a moment of its own in each life of the daemon, however fast the machine is.
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            daemon.kill()
            await asyncio.to_thread(daemon.start)
        ids, printed = await following
        run = await client.get(run_id)
    expected = "".join(f"{number}\n" for number in range(1, NUMBERS + 1))
    logs = (await asyncio.to_thread(runs_command, daemon, "logs", run_id)).stdout
    assert logs == printed == expected
    assert ids == list(range(1, len(ids) + 1))
    assert (run.exit_code, run.attempt) == (9, 1)
    assert daemon.stop() == 0


async def followed(client: AsyncRunsClient, run_id: str) -> tuple[list[int], str]:
    """The ids of all events, and what the run printed, as one follower saw them."""
    ids: list[int] = []
    printed = ""
    async for event in client.follow(run_id):
        ids.append(event.event_id)
        printed += event.payload["text"] if event.event_type == "log" else ""
    return ids, printed
