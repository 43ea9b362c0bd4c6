from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient

from tests.integration.daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests of a module; it must come through them unharmed."""
    daemon = Daemon(
        tmp_path_factory.mktemp("daemon"),
        env={"SECRET_OF_THE_DAEMON": "never shown", "PASSED_ON": "allowed"},
    )
    daemon.start()
    yield daemon
    assert daemon.stop() == 0
    failures = [line for line in daemon.log if line.get("level") in ("error", "critical")]
    unexpected = [line for line in failures if "left behind" not in line["event"]]
    assert not unexpected, unexpected


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[AsyncRunsClient]:
    async with AsyncRunsClient(daemon.address) as client:
        yield client


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Daemons for a test that starts and ends them itself."""
    made: list[Daemon] = []

    def make(name: str = "daemon", **options: object) -> Daemon:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        made.append(Daemon(directory, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for daemon in made:
        if daemon.is_running:
            daemon.kill()
