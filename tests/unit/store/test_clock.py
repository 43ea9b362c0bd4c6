"""Waits do not follow a wall clock that is set."""

from __future__ import annotations

import time

import pytest

from runsd.store.clock import steady_now, wall_now


@pytest.mark.parametrize("step_seconds", [-86_400, 86_400])
def test_a_step_of_the_wall_clock_moves_no_wait(monkeypatch: pytest.MonkeyPatch, step_seconds: int) -> None:
    before_steady, before_wall = steady_now(), wall_now()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + step_seconds * 10**9)
    assert abs(wall_now() - before_wall) > 80_000 * 10**6
    assert 0 <= steady_now() - before_steady < 60 * 10**6


def test_both_agree_as_long_as_nobody_sets_the_clock() -> None:
    assert abs(steady_now() - wall_now()) < 60 * 10**6
