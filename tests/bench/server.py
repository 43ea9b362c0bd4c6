"""Servers on unix sockets: the daemon and the no-op, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

READY_SECONDS = 30.0
KIB_PER_MIB = 1024
SHOWN_CHARACTERS = 2000
# Look again soon while the socket is not there yet.
CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.max_receive_message_length", 16 << 20),
)


class ServerFailed(Exception):
    """It ended before it served, or never served; holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    address: str
    pid: int

    def rss_mib(self) -> float:
        """Resident memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmRSS":
                return int(value.split()[0]) / KIB_PER_MIB
        raise ProcessLookupError(self.pid)


@asynccontextmanager
async def started_daemon(project: Path, directory: Path) -> AsyncIterator[Server]:
    """A daemon of its own; its state, socket and log are in `directory`."""
    address = f"unix:{directory}/runsd.sock"
    command = ["runsd.cli", "serve", "--project", str(project), "--state-dir", str(directory / "state")]
    async with _started([*command, "--listen", address], address, directory / "runsd.log") as server:
        yield server


@asynccontextmanager
async def started_noop(answer: Path, events: int, directory: Path) -> AsyncIterator[Server]:
    address = f"unix:{directory}/noop.sock"
    command = ["tests.bench.noop_server", address, str(answer), str(events)]
    async with _started(command, address, directory / "noop.log") as server:
        yield server


@asynccontextmanager
async def _started(command: list[str], address: str, log: Path) -> AsyncIterator[Server]:
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env=plain_environment(), stdout=errors, stderr=errors
        )
    try:
        await _wait_until_serving(process, address, log)
        yield Server(address, process.pid)
    finally:
        await _stop(process, log)


def plain_environment() -> dict[str, str]:
    """Ours, without settings that somebody gave a daemon of theirs."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RUNSD_")}


async def _stop(process: Process, log: Path) -> None:
    """Whoever failed for want of the server learns here why it was gone."""
    if process.returncode is not None:
        raise ServerFailed(f"ended by itself, or by somebody else, with {process.returncode}: {end_of(log)}")
    process.send_signal(signal.SIGTERM)
    await process.wait()


def end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-SHOWN_CHARACTERS:]


async def _wait_until_serving(process: Process, address: str, log: Path) -> None:
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        ready = asyncio.ensure_future(channel.channel_ready())
        ended = asyncio.ensure_future(process.wait())
        await asyncio.wait([ready, ended], timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        is_ready = ready.done() and not ended.done()
        for waiting in (ready, ended):
            waiting.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)
    if not is_ready:
        raise ServerFailed(end_of(log))
