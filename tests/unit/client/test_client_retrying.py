"""When a call is made again."""

from __future__ import annotations

import pytest
from runsd_client import NotFoundError, OverloadedError, RetryPolicy, UnreachableError
from runsd_client.retrying import Tries

GONE = UnreachableError("gone", "unix:/x")


def test_delays_double_up_to_the_longest() -> None:
    policy = RetryPolicy()
    for failures, longest in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 10.0), (5000, 10.0)]:
        assert 0.8 * longest <= policy.delay_seconds(failures) <= longest


def test_three_retries_then_the_error() -> None:
    tries = Tries(RetryPolicy())
    for _ in range(3):
        tries.after(GONE)
    with pytest.raises(UnreachableError):
        tries.after(GONE)


def test_only_what_may_be_gone_is_tried_again() -> None:
    told = []
    tries = Tries(RetryPolicy(), lambda error, delay: told.append((error, delay)))
    with pytest.raises(NotFoundError):
        tries.after(NotFoundError("no"))
    busy = OverloadedError("busy")
    delay = tries.after(busy)
    assert told == [(busy, delay)]


def test_once_connected_it_goes_on_for_as_long_as_the_policy_says() -> None:
    tries = Tries(RetryPolicy(retries=0, reconnect_for_seconds=100))
    tries.succeeded()
    waited = 0.0
    with pytest.raises(UnreachableError):
        while True:
            waited += tries.after(GONE)
    assert 100 <= waited < 110


def test_success_forgets_the_failures_before() -> None:
    tries = Tries(RetryPolicy())
    tries.after(GONE)
    tries.after(GONE)
    tries.succeeded()
    assert tries.after(GONE) <= 1.0
