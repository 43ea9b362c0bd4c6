"""Tells the service manager how the daemon is, as sd_notify(3) has it.

Best effort by design: without a service manager nothing is sent, and one that does not listen never
stops the daemon. The watchdog speaks from the event loop, so that a loop that hangs falls silent.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

logger = structlog.get_logger()

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """`address` is where it listens; `watchdog_seconds` how long the daemon may be silent. None: not asked for."""

    address: str | None = None
    watchdog_seconds: float | None = None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> ServiceManager:
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        return cls(address, _watchdog_seconds(environ))

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """To be followed by `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line, for `systemctl status`."""
        self._send(f"STATUS={text}")

    async def watchdog(self) -> None:
        """Says, until cancelled, that the loop goes round; returns at once where nobody watches."""
        while self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / 2)

    def _send(self, *assignments: str) -> None:
        if self.address is None:
            return
        # A name that begins with a zero byte is abstract: it is in no file system.
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        message = "\n".join(assignments).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # A service manager that hangs must not make the event loop hang.
                sender.setblocking(False)
                sender.sendto(message, address)
        except OSError as error:
            logger.warning("the service manager was not told", message=assignments[0], error=str(error))


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """None as well where another process is watched: one that we are a child of."""
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    return int(microseconds) / MICROSECONDS if microseconds.isdecimal() and int(microseconds) else None
