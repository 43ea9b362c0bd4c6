"""All that is measured, started: the daemon, the no-op server, the spawn loop, the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.client import NOOP
from tests.bench.peer import Peer, started_peer
from tests.bench.project import write_project
from tests.bench.rounds import Measure
from tests.bench.server import Server, started_daemon, started_noop
from tests.bench.sizes import OUTSTANDING, Sizes


@dataclass(frozen=True, slots=True)
class Stage:
    """`idle_mib` is the daemon's resident memory before its first call."""

    sizes: Sizes
    daemon: Server
    idle_mib: float
    client: Peer
    spawner: Peer

    def bare_calls(self, outstanding: int = OUTSTANDING) -> Measure:
        """Calls a second of the no-op server: the measure of all calls."""
        return partial(self.client.call, "creates", NOOP, outstanding, self.sizes.window_seconds / 2)


@asynccontextmanager
async def started_stage(directory: Path, sizes: Sizes) -> AsyncIterator[Stage]:
    write_project(directory / "project", sizes.lines)
    answer = directory / "answer"
    async with started_daemon(directory / "project", directory) as daemon:
        idle_mib = daemon.rss_mib()
        answer.write_bytes(await _sample(daemon))
        async with (
            started_noop(answer, sizes.events, directory) as noop,
            started_peer("tests.bench.client", daemon.address, noop.address) as client,
            started_peer("tests.bench.spawn_loop") as spawner,
        ):
            yield Stage(sizes, daemon, idle_mib, client, spawner)


async def _sample(daemon: Server) -> bytes:
    """An answer of the daemon for the no-op server to give."""
    async with started_peer("tests.bench.client", daemon.address, daemon.address) as client:
        return bytes.fromhex(await client.call("sample"))
