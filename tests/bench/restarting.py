"""A daemon that is killed and started again, and how long each start takes by its own word (sd_notify)."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path

from tests.bench.server import READY_SECONDS, Server, ServerFailed, end_of, plain_environment

READY = b"READY=1"
MESSAGE_BYTES = 4096


class RestartingDaemon:
    def __init__(self, project: Path, directory: Path, max_running: int) -> None:
        """Its state, socket and log are in `directory`, which it makes."""
        directory.mkdir()
        self.address = f"unix:{directory}/runsd.sock"
        self._log = directory / "runsd.log"
        self._notified = directory / "notified.sock"
        state = str(directory / "state")
        self._command = [
            *(sys.executable, "-m", "runsd.cli", "serve", "--project", str(project), "--state-dir", state),
            *("--listen", self.address, "--on-stop", "cancel"),
        ]
        self._environment = {
            **plain_environment(),
            "RUNSD_LIMITS_MAX_RUNNING": str(max_running),
            "NOTIFY_SOCKET": str(self._notified),
        }
        self._process: Process | None = None

    async def start(self) -> float:
        """Seconds until it serves. Raises ServerFailed."""
        self._notified.unlink(missing_ok=True)
        with self._log.open("wb") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self._notified))
            manager.setblocking(False)
            begin = time.perf_counter()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdout=log, stderr=log
            )
            await self._until_ready(self._process, manager)
            return time.perf_counter() - begin

    async def _until_ready(self, process: Process, manager: socket.socket) -> None:
        told = asyncio.ensure_future(_told_ready(manager))
        ended = asyncio.ensure_future(process.wait())
        await asyncio.wait([told, ended], timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        is_ready = told.done() and not ended.done()
        for waiting in (told, ended):
            waiting.cancel()
        await asyncio.gather(told, ended, return_exceptions=True)
        if not is_ready:
            raise ServerFailed(end_of(self._log))

    def rss_mib(self) -> float:
        assert self._process is not None
        return Server(self.address, self._process.pid).rss_mib()

    async def kill(self) -> None:
        """What it executes goes on."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """What it executes ends with it."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await self._process.wait()


async def _told_ready(manager: socket.socket) -> None:
    while READY not in (await asyncio.get_running_loop().sock_recv(manager, MESSAGE_BYTES)).splitlines():
        pass
