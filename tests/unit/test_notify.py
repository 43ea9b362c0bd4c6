from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runsd.notify import ServiceManager


class Listener:
    """The service manager's end; `name` as it stands in NOTIFY_SOCKET."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(name.replace("@", "\0", 1))

    def received(self) -> list[list[str]]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    async def receive(self) -> list[str]:
        return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@runsd-test-{os.getpid()}"
    listener = Listener(name)
    yield listener
    listener.close()


def test_says_how_the_daemon_is(listener: Listener) -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": listener.name})
    manager.ready("serving")
    manager.status("busy")
    before = time.monotonic_ns() // 1000
    manager.reloading()
    manager.stopping("on the way out")
    ready, status, reloading, stopping = listener.received()
    assert ready == ["READY=1", "STATUS=serving"]
    assert status == ["STATUS=busy"]
    assert reloading[0] == "RELOADING=1"
    name, _, microseconds = reloading[1].partition("=")
    assert name == "MONOTONIC_USEC" and before <= int(microseconds) <= time.monotonic_ns() // 1000
    assert stopping == ["STOPPING=1", "STATUS=on the way out"]


@pytest.mark.parametrize("address", ["", "not/absolute", "vsock:2:1234"])
async def test_without_a_service_manager_nothing_happens(address: str) -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert manager == ServiceManager()
    manager.ready("serving")
    await manager.watchdog()


def test_one_that_does_not_listen_stops_nobody(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("serving")


def test_one_that_does_not_read_stops_nobody(listener: Listener) -> None:
    manager = ServiceManager(listener.name)
    for _ in range(10_000):
        manager.status("again")
    assert 0 < len(listener.received()) < 10_000


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getppid())}, None),
    ],
)
def test_watched_when_it_is_us(variables: dict[str, str], seconds: float | None) -> None:
    manager = ServiceManager.of_environment({"NOTIFY_SOCKET": "/run/notify", **variables})
    assert manager.watchdog_seconds == seconds


async def test_watchdog_hears_of_a_loop_that_goes_round(listener: Listener) -> None:
    watchdog = asyncio.create_task(ServiceManager(listener.name, watchdog_seconds=0.02).watchdog())
    began = time.monotonic()
    messages = [await listener.receive() for _ in range(4)]
    # At once, then at half the interval.
    assert time.monotonic() - began >= 3 * 0.01
    assert messages == [["WATCHDOG=1"]] * 4
    watchdog.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watchdog


async def test_watchdog_hears_nothing_of_a_loop_that_hangs(listener: Listener) -> None:
    watchdog = asyncio.create_task(ServiceManager(listener.name, watchdog_seconds=0.001).watchdog())
    await listener.receive()
    listener.received()
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    assert listener.received() == []
    watchdog.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watchdog
