"""Calls into a process of its own, a line of JSON each way over its stdin and stdout.

The process does one call at a time, so that nothing but the load executes in it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any


class PeerFailed(Exception):
    """The process ended in the middle of a call."""

    def __init__(self, call: str) -> None:
        super().__init__(f"the measurement {call!r} failed; what went wrong is above")


class Peer:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def call(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        answer = await self._process.stdout.readline()
        if not answer:
            raise PeerFailed(name)
        return json.loads(answer)


@asynccontextmanager
async def started_peer(module: str, *arguments: str) -> AsyncIterator[Peer]:
    """Executes `python -m module arguments`; the process ends when its stdin does."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE)
    try:
        yield Peer(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def answer_calls(calls: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """In the process: answers until stdin ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, arguments = json.loads(line)
        print(json.dumps(await calls[name](*arguments)), flush=True)
