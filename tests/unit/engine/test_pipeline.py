"""The interpreter of `runs.toml` workflows, on operations that note what is asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.engine.workflows.pipeline import pipeline_function
from runsd.model.pipelines import (
    AwaitApproval,
    AwaitSignal,
    Pause,
    Pipeline,
    PipelineStep,
    RetryPolicy,
    RunTarget,
    Strategy,
)
from runsd.model.settings import Backoff
from runsd.sdk.step_options import ApprovalRequest, Retry, StepOptions
from runsd.sdk.step_outcomes import Approval, Settled, StepFailed
from runsd.sdk.workflow import Operations, WorkflowContext

Call = tuple[Any, ...]


class Noted:
    """Answers from `outputs` by the operation's name; an exception there is raised. `held` names wait to be let go."""

    def __init__(self, outputs: Mapping[str, Any] | None = None, held: Sequence[str] = ()) -> None:
        self.calls: list[Call] = []
        self.begun: dict[str, asyncio.Event] = {}
        self.let_go = {name: asyncio.Event() for name in held}
        self.cancelled: list[str] = []
        self._outputs = outputs or {}

    def has_begun(self, name: str) -> asyncio.Event:
        return self.begun.setdefault(name, asyncio.Event())

    async def _answer(self, name: str, default: Any) -> Any:
        self.has_begun(name).set()
        try:
            if name in self.let_go:
                await self.let_go[name].wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        output = self._outputs.get(name, default)
        if isinstance(output, BaseException):
            raise output
        return output

    def unordered(self) -> None: ...

    def run(self, name: str, target: str, documents: Mapping[str, Any], options: StepOptions) -> Awaitable[Any]:
        self.calls.append(("run", name, target, documents["input"], documents["config"], options))
        return self._answer(name, f"output of {name}")

    def map(
        self,
        name: str,
        begin: Callable[[str, Any], Awaitable[Any]],
        items: Sequence[Any],
        strategy: str,
        concurrency: int | None,
    ) -> Awaitable[Any]:
        self.calls.append(("map", name, strategy, concurrency))

        async def all_of_them() -> Any:
            results = [await begin(f"{name}[{index}]", item) for index, item in enumerate(items)]
            return await self._answer(name, results)

        return all_of_them()

    def sleep(self, name: str, duration_seconds: float) -> Awaitable[None]:
        self.calls.append(("sleep", name, duration_seconds))
        return self._answer(name, None)

    def wait_for_signal(self, name: str, signal: str, timeout_seconds: float | None) -> Awaitable[Any]:
        self.calls.append(("signal", name, signal, timeout_seconds))
        return self._answer(name, {"payload": name})

    def wait_for_approval(
        self, name: str, request: ApprovalRequest, timeout_seconds: float | None
    ) -> Awaitable[Approval]:
        self.calls.append(("approval", name, request, timeout_seconds))
        return self._answer(name, Approval(name, True, "eve", "fine", {"stars": 5}))

    def skip(self, name: str, reason: str) -> Awaitable[None]:
        self.calls.append(("skip", name, reason))
        return self._answer(name, None)


def context(operations: Noted, input: Any = None, config: Any = None) -> WorkflowContext:
    return WorkflowContext(
        cast(Operations, operations),
        run_id="r1",
        project="p",
        target="workflow:w",
        attempt=2,
        input=input,
        config=config,
        address="",
    )


async def execute(pipeline: Pipeline, operations: Noted, input: Any = None, config: Any = None) -> Any:
    return await pipeline_function(pipeline)(context(operations, input, config), input)


def task(id: str, input: Any = None, **more: Any) -> PipelineStep:
    return PipelineStep(id, RunTarget("task:t", input, more.pop("config", None)), **more)


PLAIN = StepOptions(Retry(max_attempts=1), None)


async def test_every_kind_of_step_is_what_a_workflow_in_python_would_ask_for() -> None:
    pipeline = Pipeline(
        (
            task(
                "research",
                {"topic": "${input.topic}", "run": "${run}"},
                config="${config}",
                retry=RetryPolicy(4, Backoff.LINEAR, 2.0, 9.0),
                timeout_seconds=60.0,
            ),
            PipelineStep("night", Pause(8.5), needs=("research",)),
            PipelineStep("rest", Pause("${config.rest}"), needs=("night",)),
            PipelineStep("paper", AwaitSignal("paper.arrived"), needs=("rest",), timeout_seconds=5.0),
            PipelineStep(
                "editor-review",
                AwaitApproval("Read ${steps.research.output}", ("${input.editor}", "x"), {"type": "object"}),
                needs=("paper",),
                timeout_seconds=7.0,
            ),
            task("publish", '${steps["editor-review"].output}', needs=("editor-review",)),
        )
    )
    operations = Noted()
    output = await execute(pipeline, operations, {"topic": "cats", "editor": "eve"}, {"rest": "1m"})
    assert output == "output of publish"
    approved = {"approved": True, "by": "eve", "comment": "fine", "data": {"stars": 5}}
    documents = {"topic": "cats", "run": {"id": "r1", "attempt": 2}}
    options = StepOptions(Retry(4, "linear", 2.0, 9.0), 60.0, retries=3, has_delays=True)
    assert operations.calls == [
        ("run", "research", "task:t", documents, {"rest": "1m"}, options),
        ("sleep", "night", 8.5),
        ("sleep", "rest", 60.0),
        ("signal", "paper", "paper.arrived", 5.0),
        (
            "approval",
            "editor-review",
            ApprovalRequest("Read output of research", ("eve", "x"), {"type": "object"}),
            7.0,
        ),
        ("run", "publish", "task:t", approved, None, PLAIN),
    ]


async def test_for_each_executes_the_target_with_every_item() -> None:
    step = task(
        "draft",
        {"text": "${item}", "number": "${index + 1}", "of": "${size(input.rows)}"},
        config="${index}",
        for_each="input.rows",
        concurrency=3,
        strategy=Strategy.RACE,
    )
    operations = Noted()
    assert await execute(Pipeline((step,)), operations, {"rows": ["a", "b"]}) == [
        "output of draft[0]",
        "output of draft[1]",
    ]
    assert operations.calls == [
        ("map", "draft", "race", 3),
        ("run", "draft[0]", "task:t", {"text": "a", "number": 1, "of": 2}, 0, PLAIN),
        ("run", "draft[1]", "task:t", {"text": "b", "number": 2, "of": 2}, 1, PLAIN),
    ]


async def test_what_does_not_depend_on_the_item_is_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []

    def execute_cel(expression: Any, variables: Any) -> Any:
        evaluated.append(expression.source)
        return 0

    monkeypatch.setattr("runsd.definitions.expressions._execute", execute_cel)
    step = task("draft", ["${size(input)}", "${index + 1}"], for_each="input")
    await execute(Pipeline((step,)), Noted(), ["a", "b", "c"])
    assert evaluated == ["size(input)", "index + 1", "index + 1", "index + 1"]


async def test_settled_branches_are_json() -> None:
    step = task("draft", "${item}", for_each="input", strategy=Strategy.ALL_SETTLED)
    error = StepFailed("draft[1]", "no ink", "exception", {"a": 1})
    operations = Noted({"draft": [Settled(value=1), Settled(error=error)]})
    assert await execute(Pipeline((step,)), operations, [1, 2]) == [
        {"ok": True, "value": 1, "error": None},
        {"ok": False, "value": None, "error": {"message": "no ink", "code": "exception", "detail": {"a": 1}}},
    ]


async def test_a_step_that_is_not_wanted_is_skipped_and_gives_null() -> None:
    steps = (task("a", when="input > 1"), task("b", ["${steps.a.output}"], needs=("a",), when="!(input > 1)"))
    operations = Noted()
    assert await execute(Pipeline(steps), operations, 1) == "output of b"
    assert operations.calls == [("skip", "a", "when = input > 1"), ("run", "b", "task:t", [None], None, PLAIN)]


async def test_the_output_of_the_workflow_is_the_template_or_the_last_step_s() -> None:
    steps = (task("a", needs=("b",)), task("b"))
    assert await execute(Pipeline(steps), Noted()) == "output of b"
    pipeline = Pipeline(steps, {"all": ["${steps.a.output}", "${input}"]})
    assert await execute(pipeline, Noted(), 1) == {"all": ["output of a", 1]}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (task("a", {"x": "${input.y}"}), "input.x: ${input.y}: input is null, so there is no 'y' in it"),
        (task("a", config=["${config.y}"]), "config[0]: ${config.y}: config has no key 'y'; there are no keys"),
        (task("a", when="config"), "when: ${config} gives an object, not true or false"),
        (task("a", for_each="config"), "for_each: ${config} gives an object, not a list"),
        (task("a", "${item.y}", for_each="[{'x': 1}]"), "input: ${item.y}: item has no key 'y'; known keys: x"),
        (PipelineStep("a", Pause("${config}")), "sleep: {} is no duration; write '30s'"),
        (PipelineStep("a", AwaitApproval("m", ("${input}",))), "wait.approvers: null is no name"),
    ],
)
async def test_an_expression_without_a_value_fails_its_step(step: PipelineStep, message: str) -> None:
    operations = Noted()
    with pytest.raises(StepFailed) as raised:
        await execute(Pipeline((step,)), operations, config={})
    assert (raised.value.step_id, raised.value.code) == ("a", "expression")
    assert raised.value.message.startswith(message)
    assert operations.calls == []


async def test_an_output_without_a_value_fails_the_workflow() -> None:
    with pytest.raises(StepFailed) as raised:
        await execute(Pipeline((task("a"),), {"x": "${steps.a.output.y}"}), Noted())
    assert (raised.value.step_id, raised.value.code) == ("output", "expression")
    assert raised.value.message == ("output.x: ${steps.a.output.y}: steps.a.output is a text, so there is no 'y' in it")


async def test_steps_that_need_nothing_of_each_other_go_side_by_side() -> None:
    steps = (task("a"), task("b"), task("after-a", needs=("a",)), task("after-both", needs=("a", "b")))
    operations = Noted(held=["a", "b"])
    running = asyncio.create_task(execute(Pipeline(steps), operations))
    await operations.has_begun("a").wait()
    await operations.has_begun("b").wait()
    operations.let_go["a"].set()
    await operations.has_begun("after-a").wait()
    assert not operations.has_begun("after-both").is_set()
    operations.let_go["b"].set()
    assert await running == "output of after-both"


async def test_a_step_that_fails_ends_the_others_and_is_told() -> None:
    steps = (task("a"), task("b"), task("c", needs=("a", "b")))
    operations = Noted({"a": StepFailed("a", "no ink", "exit_code")}, held=["b"])
    with pytest.raises(StepFailed, match="no ink"):
        await execute(Pipeline(steps), operations)
    assert operations.cancelled == ["b"]
    assert not operations.has_begun("c").is_set()
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancelled_workflow_leaves_no_step_behind() -> None:
    operations = Noted(held=["a", "b"])
    running = asyncio.create_task(execute(Pipeline((task("a"), task("b"))), operations))
    await operations.has_begun("b").wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(operations.cancelled) == ["a", "b"]
    assert len(asyncio.all_tasks()) == 1


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    ids = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {id: tuple(sorted(draw(st.sets(st.sampled_from(ids[:i]))) if i else ())) for i, id in enumerate(ids)}
    steps = [task(id, [f"${{steps.{need}.output}}" for need in needs[id]], needs=needs[id]) for id in ids]
    return Pipeline(tuple(draw(st.permutations(steps))), {id: f"${{steps.{id}.output}}" for id in ids})


@given(pipelines(), st.randoms(use_true_random=False))
def test_whatever_the_order_in_which_steps_end_the_result_is_the_same(pipeline: Pipeline, random: Any) -> None:
    """And every step is called once, after what it needs, with its outputs."""

    async def at_random() -> None:
        operations = Noted(held=[step.id for step in pipeline.steps])
        running = asyncio.create_task(execute(pipeline, operations))
        while not running.done():
            for _ in range(5):
                await asyncio.sleep(0)
            open_steps = [name for name, event in operations.begun.items() if event.is_set()]
            waiting = [name for name in open_steps if not operations.let_go[name].is_set()]
            if waiting:
                operations.let_go[random.choice(waiting)].set()
        assert await running == {step.id: f"output of {step.id}" for step in pipeline.steps}
        called = [call[1] for call in operations.calls]
        assert sorted(called) == sorted(step.id for step in pipeline.steps)
        for step in pipeline.steps:
            given_input = next(call[3] for call in operations.calls if call[1] == step.id)
            assert given_input == [f"output of {need}" for need in step.needs]
            assert all(called.index(need) < called.index(step.id) for need in step.needs)

    asyncio.run(at_random())
