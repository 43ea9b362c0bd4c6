"""The measure of all processes: a bare asyncio spawn loop, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE

from tests.bench.closed_loop import rate
from tests.bench.peer import answer_calls

PIPE_BYTES = 1 << 20


async def spawns_per_second(concurrency: int, seconds: float) -> float:
    return await rate(_spawn, concurrency, seconds)


async def _spawn() -> None:
    process = await asyncio.create_subprocess_exec("/bin/true", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    await process.wait()


async def lines_per_second(count: int) -> float:
    """`seq count` read from a pipe to its end, and nothing done with it."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec("seq", str(count), stdin=DEVNULL, stdout=PIPE, limit=PIPE_BYTES)
    assert process.stdout is not None
    while await process.stdout.read(PIPE_BYTES):
        pass
    await process.wait()
    return count / (time.perf_counter() - begin)


async def main() -> None:
    if sys.version_info < (3, 12):  # from 3.12 on it is the default
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
    await answer_calls({"spawns": spawns_per_second, "lines": lines_per_second})


if __name__ == "__main__":
    asyncio.run(main())
