"""Executes the steps of a `runs.toml` workflow, by nothing but what a workflow in Python has.

Every step has an id of its own, and expressions see only what is recorded: the record tells one thing
however the steps overlapped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from runsd.definitions.expressions import Expression, ExpressionFailed
from runsd.definitions.json_values import kind_of
from runsd.definitions.templates import Evaluate, as_text, render
from runsd.model.pipelines import (
    AwaitApproval,
    AwaitSignal,
    Pipeline,
    PipelineStep,
    RetryPolicy,
    RunTarget,
    Strategy,
)
from runsd.model.run import ErrorCode
from runsd.sdk.durations import seconds
from runsd.sdk.step_options import Retry
from runsd.sdk.step_outcomes import Approval, Settled, StepFailed
from runsd.sdk.workflow import WorkflowContext

_OF_AN_ITEM = frozenset({"item", "index"})

WorkflowFunction = Callable[[WorkflowContext, Any], Awaitable[Any]]


def pipeline_function(pipeline: Pipeline) -> WorkflowFunction:
    """A workflow's function; it raises StepFailed as one in Python does."""
    levels = pipeline.levels()

    async def execute(ctx: WorkflowContext, input: Any) -> Any:
        execution = _Execution(ctx, input)
        if all(len(level) == 1 for level in levels):
            for (step,) in levels:
                await execution.execute(step)
        else:
            await _side_by_side(execution, [step for level in levels for step in level])
        return execution.output(pipeline)

    return execute


async def _side_by_side(execution: _Execution, steps: Sequence[PipelineStep]) -> None:
    """Tasks wait for tasks alone: so it can be seen when all that is left is to wait for the world."""
    execution.unordered()
    tasks: dict[str, asyncio.Task[None]] = {}
    for step in steps:
        needed = [tasks[need] for need in step.needs]
        tasks[step.id] = asyncio.create_task(_after(needed, execution, step), name=step.id)
    try:
        await asyncio.gather(*tasks.values())
    except BaseException:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        raise


async def _after(needed: Sequence[asyncio.Task[None]], execution: _Execution, step: PipelineStep) -> None:
    for task in needed:
        await task
    await execution.execute(step)


class _Execution:
    """One passage through the steps: the outputs so far, and what expressions see of them."""

    def __init__(self, ctx: WorkflowContext, input: Any) -> None:
        self._ctx = ctx
        self._outputs: dict[str, dict[str, Any]] = {}
        run = {"id": ctx.run_id, "attempt": ctx.attempt}
        self._variables = {"input": input, "config": ctx.config, "run": run, "steps": self._outputs}

    def unordered(self) -> None:
        """Ids are unique, and steps begin whenever what they need is there."""
        self._ctx.operations.unordered()

    async def execute(self, step: PipelineStep) -> None:
        try:
            self._outputs[step.id] = {"output": await self._result(step)}
        except ExpressionFailed as error:
            raise StepFailed(step.id, str(error), ErrorCode.EXPRESSION) from None

    def output(self, pipeline: Pipeline) -> Any:
        if pipeline.output is None:
            return self._outputs[pipeline.steps[-1].id]["output"]
        try:
            return self._render(pipeline.output, "output")
        except ExpressionFailed as error:
            raise StepFailed("output", str(error), ErrorCode.EXPRESSION) from None

    async def _result(self, step: PipelineStep) -> Any:
        if step.when and not self._is_wanted(step):
            await self._ctx.skip(step.id, f"when = {step.when}")
            return None
        action = step.action
        if isinstance(action, RunTarget):
            return await (self._map(step, action) if step.for_each else self._run(step, action))
        if isinstance(action, AwaitApproval):
            return _approval(await self._approval(step, action))
        if isinstance(action, AwaitSignal):
            return await self._ctx.wait_for_signal(action.signal, timeout=step.timeout_seconds, step=step.id)
        return await self._ctx.sleep(self._duration(action.duration), name=step.id)

    def _is_wanted(self, step: PipelineStep) -> bool:
        wanted = self._render(f"${{{step.when}}}", "when")
        if not isinstance(wanted, bool):
            raise ExpressionFailed(f"when: ${{{step.when}}} gives {kind_of(wanted)}, not true or false")
        return wanted

    def _run(self, step: PipelineStep, action: RunTarget) -> Awaitable[Any]:
        return self._ctx.run(
            action.target,
            input=self._render(action.input, "input"),
            config=self._render(action.config, "config"),
            name=step.id,
            retry=_retry(step.retry),
            timeout=step.timeout_seconds,
        )

    async def _map(self, step: PipelineStep, action: RunTarget) -> Any:
        items = self._render(f"${{{step.for_each}}}", "for_each")
        if not isinstance(items, list):
            raise ExpressionFailed(f"for_each: ${{{step.for_each}}} gives {kind_of(items)}, not a list")
        evaluations = self._for_items(items)
        result = await self._ctx.map(
            step.id,
            action.target,
            [render(action.input, evaluate, "input") for evaluate in evaluations],
            configs=[render(action.config, evaluate, "config") for evaluate in evaluations],
            concurrency=step.concurrency,
            strategy=step.strategy.value,
            retry=_retry(step.retry),
            timeout=step.timeout_seconds,
        )
        return [_settled(branch) for branch in result] if step.strategy is Strategy.ALL_SETTLED else result

    def _for_items(self, items: Sequence[Any]) -> list[Evaluate]:
        """What does not depend on the item is evaluated once."""
        shared: dict[str, Any] = {}

        def evaluation(item: Any, index: int) -> Evaluate:
            def evaluate(expression: Expression) -> Any:
                if expression.variables & _OF_AN_ITEM:
                    return expression.evaluate({**self._variables, "item": item, "index": index})
                if expression.source not in shared:
                    shared[expression.source] = expression.evaluate(self._variables)
                return shared[expression.source]

            return evaluate

        return [evaluation(item, index) for index, item in enumerate(items)]

    def _approval(self, step: PipelineStep, action: AwaitApproval) -> Awaitable[Approval]:
        approvers = self._render(action.approvers, "wait.approvers") if action.approvers else None
        message = self._render(action.message, "wait.approval")
        for who in approvers or ():
            if not isinstance(who, str):
                raise ExpressionFailed(f"wait.approvers: {kind_of(who)} is no name")
        return self._ctx.wait_for_approval(
            step.id, message=as_text(message), approvers=approvers, timeout=step.timeout_seconds, schema=action.schema
        )

    def _duration(self, given: Any) -> float:
        duration = self._render(given, "sleep")
        try:
            return seconds(duration)
        except ValueError as error:
            raise ExpressionFailed(f"sleep: {error}") from None

    def _render(self, template: Any, key: str) -> Any:
        return render(template, lambda expression: expression.evaluate(self._variables), key)


def _retry(policy: RetryPolicy | None) -> Retry | int | None:
    if policy is None or not policy.has_delays:
        return None if policy is None else policy.max_attempts - 1
    delays = {"initial_delay": policy.initial_delay_seconds, "max_delay": policy.max_delay_seconds}
    return Retry(policy.max_attempts, policy.backoff.value, **delays)


def _approval(approval: Approval) -> Mapping[str, Any]:
    return {"approved": approval.approved, "by": approval.by, "comment": approval.comment, "data": approval.data}


def _settled(branch: Settled) -> Mapping[str, Any]:
    error = branch.error
    told = None if error is None else {"message": error.message, "code": error.code, "detail": error.detail}
    return {"ok": branch.ok, "value": branch.value, "error": told}
