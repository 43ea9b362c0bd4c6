"""A fixed number of calls outstanding: each that ends makes room for the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


async def run_loop(call: Callable[[], Awaitable[object]], outstanding: int, seconds: float) -> Done:
    """Begins no call after `seconds`, and waits for those that are outstanding."""
    begin = time.perf_counter()

    async def worker() -> int:
        count = 0
        while time.perf_counter() - begin < seconds:
            await call()
            count += 1
        return count

    counts = await asyncio.gather(*(worker() for _ in range(outstanding)))
    return Done(sum(counts), time.perf_counter() - begin)


async def rate(call: Callable[[], Awaitable[object]], outstanding: int, seconds: float) -> float:
    """Calls a second."""
    return (await run_loop(call, outstanding, seconds)).per_second
