"""Wrong arguments of a workflow's operations are refused where they are given, in a sentence that names them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast
from unittest.mock import Mock

import pytest

from runsd.sdk.durations import MAX_SECONDS, seconds
from runsd.sdk.step_options import ApprovalRequest, Retry
from runsd.sdk.workflow import WorkflowContext

Call = Callable[[WorkflowContext], Any]


@pytest.fixture
def ctx() -> WorkflowContext:
    return WorkflowContext(
        Mock(), run_id="r", project="p", target="workflow:w", attempt=1, input=None, config=None, address=""
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.wait_for_approval("a", approvers=[5]), r"approvers must be one or more names.*not \[5\]"),
        (lambda c: c.wait_for_approval("a", approvers="eve"), r"approvers must be one or more names.*not 'eve'"),
        (lambda c: c.wait_for_approval("a", approvers=[]), r"approvers must .*leave it out for anybody"),
        (lambda c: c.wait_for_approval("a", approvers=[""]), "approvers must be one or more names"),
        (lambda c: c.wait_for_approval("a", approvers=5), "approvers must be one or more names"),
        (lambda c: c.wait_for_approval("a", message=5), "message must be text, not 5"),
        (lambda c: c.wait_for_approval("a", message="\ud800"), "message must be text"),
        (lambda c: c.wait_for_approval("a", schema=5), "schema must be a JSON Schema as a dict, not 5"),
        (lambda c: c.wait_for_approval("a", schema={"const": {1}}), r"schema is not JSON: \$\.const is of type set"),
        (lambda c: c.wait_for_approval("a", schema={"const": "\ud800"}), "schema is not JSON: .*lone surrogate"),
        (lambda c: c.wait_for_approval("a", timeout="soon"), "'soon' is no duration"),
        (lambda c: c.run(5), "5 is no target; write 'task:<id>'"),
        (lambda c: c.map("m", abs, 5), "the items of 'm' must be a list or another iterable, not 5"),
        (lambda c: c.map("m", abs, "abc"), "the items of 'm' must be a list or another iterable, not 'abc'"),
        (lambda c: c.map("m", abs, {1}), "the items of 'm' are a set, which has another order each time"),
        (lambda c: c.map("m", 5, [1]), "5 is no function"),
        (lambda c: c.map("m", abs, [1], concurrency="4"), "concurrency must be a whole number, 1 or more, not '4'"),
        (lambda c: c.map("m", abs, [1], concurrency=0), "concurrency must be a whole number"),
        (lambda c: c.map("m", abs, [1], concurrency=True), "concurrency must be a whole number"),
        (lambda c: c.map("m", abs, range(10_001)), "'m' has 10,001 items; a map takes 10,000"),
        (lambda c: c.map("m", "task:t", [1], configs=5), "the configs of 'm' must be a list"),
        (lambda c: c.map("m", "task:t", [1, 2], configs=[1]), "'m' has 2 items and 1 configs; give one for each"),
        (lambda c: c.map("m", abs, [1], configs=[1]), "configs are for targets"),
        (lambda c: c.map("m", abs, [], strategy="race"), "'m' is a race with nobody in it"),
        (lambda c: c.parallel(strategy="race"), "'parallel' is a race with nobody in it"),
        (lambda c: c.parallel(5), r"a branch of 'parallel' is 5; give ctx.step\(…\)"),
        (lambda c: c.parallel(strategy="some"), "strategy must be one of all, race, all_settled"),
        (lambda c: c.step("s", abs, 1, retry=-1), "retry must be 0 to 1,000, not -1"),
        (lambda c: c.step("s", abs, 1, retry="3"), "retry must be a number of retries or a Retry"),
        (lambda c: c.step("s", abs, 1, retry=True), "retry must be a number of retries or a Retry"),
        (lambda c: c.step("s", 5), "5 is no function"),
        (lambda c: c.step(5, abs), "5 is no name for a step; write 1 to 200 characters"),
        (lambda c: c.step("", abs), "'' is no name for a step"),
        (lambda c: c.step("x" * 201, abs), "'x+ … is no name for a step"),
        (lambda c: c.step("\ud800", abs), "is no name for a step"),
        (lambda c: c.sleep(-1), "-1 is no duration"),
        (lambda c: c.sleep(float("nan")), "nan is no duration"),
        (lambda c: c.sleep(float("inf")), "inf is longer than 100 years"),
        (lambda c: c.sleep(10**400), "is longer than 100 years"),
        (lambda c: c.sleep(10**5000), "this number is longer than 100 years"),
        (lambda c: c.sleep(-(10**400)), "is no duration"),
        (lambda c: c.sleep("101w" + "0" * 5), "is no duration"),
        (lambda c: c.sleep("5300w"), "'5300w' is longer than 100 years"),
        (lambda c: c.sleep(None), "None is no duration"),
        (lambda c: c.sleep(timedelta(days=-1)), "is no duration"),
        (lambda c: c.skip("s", 5), "reason must be text, not 5"),
        (lambda c: c.on_failure(5), "5 is no function"),
        (lambda c: c.log(5), "a line of the log must be text, not 5"),
        (lambda c: Retry(max_attempts=cast(Any, 1.5)), "max_attempts must be 1 to 1001, not 1.5"),
    ],
)  # fmt: skip
def test_wrong_arguments(ctx: WorkflowContext, call: Call, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        call(ctx)
    assert str(raised.value).encode() and len(str(raised.value)) < 400


def test_a_function_that_was_called_already(ctx: Any) -> None:
    async def work() -> None: ...

    called = work()
    with pytest.raises(ValueError, match="is no function; write it as `function, argument`, without calling it"):
        ctx.step("s", called)
    called.close()


def test_right_arguments(ctx: Any) -> None:
    assert ApprovalRequest.of("m", ("a", "b"), {"type": "object"}).approvers == ("a", "b")
    assert ApprovalRequest.of("", iter(["a"]), None).approvers == ("a",)
    assert ApprovalRequest.of("", None, None).approvers == ()
    assert Retry.of(0).max_attempts == 1 and Retry.of(1000).max_attempts == 1001
    assert seconds(0) == 0 and seconds(MAX_SECONDS) == MAX_SECONDS and seconds(timedelta(seconds=2)) == 2
    ctx.map("m", abs, [])
    ctx.map("m", "task:t", iter([1, 2]), configs=iter([1, 2]), concurrency=1)
    ctx.parallel()
    done: asyncio.Future[int] = asyncio.Future(loop=asyncio.new_event_loop())
    ctx.parallel(done, strategy="race")
