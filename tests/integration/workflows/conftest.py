from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.daemon import Daemon

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests of a module; it must come through them unharmed."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon"), project=PROJECT)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0
    failures = [line for line in daemon.log if line.get("level") in ("error", "critical")]
    unexpected = [line for line in failures if "left behind" not in line["event"]]
    assert not unexpected, unexpected
    verify(daemon)


@pytest.fixture
def make_daemon(make_daemon: Callable[..., Daemon]) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(**options: Any) -> Daemon:
        made.append(make_daemon(**{"project": PROJECT, **options}))
        return made[-1]

    yield make
    for daemon in made:
        verify(daemon)


def verify(daemon: Daemon) -> None:
    """Its state directory keeps what runsd promises."""
    command = [sys.executable, "-m", "runsd.cli", "verify", str(daemon.state)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
