"""A fake daemon on a socket of its own, and clients that lose no time between tries."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, RetryPolicy, RunsClient

from tests.unit.client.fake_daemon import FakeDaemon

QUICK = RetryPolicy(initial_seconds=0.001, max_seconds=0.05)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "API_TOKEN", "PROJECT", "RUN_ID"):
        monkeypatch.delenv(f"RUNSD_{name}", raising=False)


@pytest.fixture
def socket() -> Iterator[Path]:
    """Short: the path of a socket has 107 bytes at the most."""
    with tempfile.TemporaryDirectory(prefix="runs-") as directory:
        yield Path(directory) / "d.sock"


@pytest.fixture
def daemon(socket: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(socket) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[RunsClient]:
    with RunsClient(daemon.address, retry=QUICK) as client:
        yield client


@pytest.fixture
def async_client(daemon: FakeDaemon) -> AsyncRunsClient:
    """Connects on its first call, in the loop of the test, which closes it."""
    return AsyncRunsClient(daemon.address, retry=QUICK)
