"""The timer of the wall clock, told of a clock that was set while it is read and while it is armed."""

from __future__ import annotations

import errno
import os

import pytest

from runsd.engine import wall_timer
from runsd.engine.wall_timer import WallTimer
from runsd.store.clock import wall_now

HOUR = 3600 * 1_000_000


async def test_returns_at_its_moment() -> None:
    with WallTimer() as timer:
        moment = wall_now() + 20_000
        assert not await timer.until(moment)
        assert wall_now() >= moment


async def test_wake_ends_the_next_wait() -> None:
    with WallTimer() as timer:
        timer.wake()
        assert not await timer.until(wall_now() + HOUR)


async def test_clock_that_is_set_while_it_is_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    with WallTimer() as timer:

        def refuse(result: int) -> int:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))

        monkeypatch.setattr(wall_timer, "_checked", refuse)
        assert await timer.until(wall_now() + HOUR), "it is told, and nothing is raised"
