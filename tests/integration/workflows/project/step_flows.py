"""Steps, side by side and one after the other."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from marks import begin_and_hang, fail, mark, released, twice  # type: ignore[import-not-found]

from runsd import Retry, StepFailed, WorkflowContext, workflow

_LABEL: ContextVar[str] = ContextVar("label", default="nobody's")


@workflow("steps")
async def steps(ctx: WorkflowContext, input: Any) -> Any:
    async def later(value: int, *, more: int) -> dict[int, tuple[int, int]]:
        await asyncio.sleep(0)
        return {value: (value, more)}

    return [
        await ctx.step("plain", twice, 4),
        await ctx.step("later", later, 1, more=2),
        await ctx.step("nothing", lambda: None),
        await ctx.step("plain", twice, [1]),
        await ctx.step("wrapped", lambda: later(5, more=6)),
    ]


@workflow("lasting")
async def lasting(ctx: WorkflowContext, input: Any) -> Any:
    await ctx.step("on-the-loop", asyncio.sleep, 0.05)
    await ctx.step("in-a-thread", time.sleep, 0.05)
    await ctx.map("item", time.sleep, [0.05])


@workflow("same-id/declared-by-name")
async def declared(ctx: WorkflowContext, input: Any) -> Any:
    return {"input": ctx.input, "config": ctx.config, "same": input == ctx.input, "attempt": ctx.attempt}


@workflow("map")
async def mapped(ctx: WorkflowContext, input: Any) -> Any:
    """How many were executed at once, at the most, and the results."""
    at_once: list[int] = []
    now = 0
    all_there = asyncio.Event()

    async def work(item: int) -> int:
        nonlocal now
        now += 1
        at_once.append(now)
        if now == input["concurrency"]:
            all_there.set()
        await all_there.wait()
        await asyncio.sleep(0)
        now -= 1
        return item * item

    squares = await ctx.map("square", work, range(input["items"]), concurrency=input["concurrency"])
    return {"squares": squares, "most": max(at_once)}


@workflow("map/failing")
async def map_failing(ctx: WorkflowContext, input: Any) -> Any:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two is refused")
        return item

    return await ctx.map("item", work, [1, 2, 3], strategy=input["strategy"], concurrency=1)


@workflow("map/settled")
async def map_settled(ctx: WorkflowContext, input: Any) -> Any:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two is refused")
        return item

    settled = await ctx.map("item", work, [1, 2, 3], strategy="all_settled")
    return [one.value if one.ok else [one.error.step_id, one.error.code, one.error.message] for one in settled]


@workflow("map/targets")
async def map_targets(ctx: WorkflowContext, input: Any) -> Any:
    doubled = await ctx.map("double", "task:double", [1, 2, 3], concurrency=2)
    configured = await ctx.map("echo", "task:echo", ["a", "b"], configs=[1, None])
    return {"doubled": doubled, "configured": configured, "none": await ctx.map("none", twice, [])}


@workflow("parallel")
async def parallel(ctx: WorkflowContext, input: Any) -> Any:
    async def own(base: int) -> Any:
        first = await ctx.step("first", twice, base)
        return await ctx.step("second", twice, first)

    return await ctx.parallel(
        own(1),
        ctx.step("direct", twice, 10),
        ctx.parallel(own(2), own(3), name="inner"),
        ctx.map("list", twice, [7, 8]),
        ctx.run("task:double", input=21),
        ctx.sleep(0),
        own(4),
        name="outer",
    )


@workflow("parallel/failing")
async def parallel_failing(ctx: WorkflowContext, input: Any) -> Any:
    async def stuck() -> None:
        try:
            await ctx.step("stuck", begin_and_hang, input["file"], "stuck began")
        except asyncio.CancelledError:
            mark(input["file"], "stuck was cancelled")
            raise

    async def failing() -> None:
        await ctx.step("after", released, input["file"])
        await ctx.step("fails", fail, "no good")

    try:
        await ctx.parallel(stuck(), failing())
    except StepFailed as error:
        return {"step_id": error.step_id, "code": error.code, "message": error.message}


@workflow("race")
async def race(ctx: WorkflowContext, input: Any) -> Any:
    async def slow() -> str:
        await ctx.step("slow", begin_and_hang, input["file"], "slow began")
        return "slow"

    async def quick() -> str:
        await ctx.step("quick", released, input["file"])
        return "quick"

    return [
        await ctx.parallel(slow(), quick(), strategy="race"),
        await ctx.wait_for_signal("on"),
    ]


@workflow("race/failing")
async def race_failing(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.parallel(ctx.wait_for_signal("never"), ctx.step("fails", fail, "first"), strategy="race")


@workflow("settled")
async def settled(ctx: WorkflowContext, input: Any) -> Any:
    async def careless() -> None:
        raise KeyError("not of a step")

    ended = await ctx.parallel(
        ctx.step("good", twice, 1), ctx.step("bad", fail, "bad"), careless(), strategy="all_settled"
    )
    await ctx.wait_for_signal("on")
    return [[one.ok, one.value, one.error and [one.error.step_id, one.error.message]] for one in ended]


@workflow("retries")
async def retries(ctx: WorkflowContext, input: Any) -> Any:
    def work() -> int:
        mark(input["file"], "tried")
        tries = len(Path(input["file"]).read_text().splitlines())
        if tries < input["good_at"]:
            raise ValueError(f"try {tries} is no good")
        return tries

    retry = Retry(max_attempts=3, initial_delay=0.01, max_delay=0.02)
    return await ctx.step("work", work, retry=retry)


@workflow("timeouts")
async def timeouts(ctx: WorkflowContext, input: Any) -> Any:
    try:
        await ctx.step("late", begin_and_hang, input["file"], "began", timeout=0.02, retry=1)
    except StepFailed as error:
        return [error.step_id, error.code, error.message]


@workflow("not-json")
async def not_json(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.step("odd-one", lambda: {"deep": [object()]})


@workflow("not-json/result")
async def not_json_result(ctx: WorkflowContext, input: Any) -> Any:
    return {"deep": [object()]}


@workflow("calls-inside-a-step")
async def calls_inside(ctx: WorkflowContext, input: Any) -> Any:
    def in_thread() -> Any:
        return ctx.step("inner", twice, 1)

    async def on_loop() -> Any:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "step": lambda: ctx.step("inner", twice, 1),
            "sleep": lambda: ctx.sleep(0),
            "map": lambda: ctx.map("inner", twice, [1]),
            "run": lambda: ctx.run("task:double", input=1),
            "parallel": lambda: ctx.parallel(),
            "signal": lambda: ctx.wait_for_signal("x"),
            "approval": lambda: ctx.wait_for_approval("x"),
            "skip": lambda: ctx.skip("x"),
        }
        return await calls[input]()

    return await ctx.step("outer", in_thread if input == "thread" else on_loop)


@workflow("events")
async def events(ctx: WorkflowContext, input: Any) -> Any:
    def in_thread() -> None:
        ctx.log("in a thread")
        ctx.emit("of.a.step", {"thread": True})

    async def on_loop() -> None:
        ctx.log("on the loop")

    async def branch(name: str) -> None:
        await ctx.step(name, twice, 1)
        ctx.emit("branch.ended", {"branch": name})

    ctx.log("at the start")
    ctx.progress(0.25, "a quarter")
    await ctx.step("thread", in_thread)
    await ctx.step("loop", on_loop)
    await asyncio.gather(branch("one"), branch("two"), ctx.wait_for_signal("on"))
    ctx.emit("in.between")
    await ctx.parallel(branch("three"), ctx.wait_for_signal("on"))
    ctx.emit("after.all")
    return None


@workflow("values")
async def values(ctx: WorkflowContext, input: Any) -> Any:
    before = [ctx.now().isoformat(), ctx.random(), str(ctx.uuid()), ctx.random()]

    async def branch() -> list[Any]:
        return [str(ctx.uuid()), ctx.now().isoformat()]

    branches = await asyncio.gather(branch(), branch())
    mark(input["file"], f"{before} {branches}")
    await ctx.wait_for_signal("on")
    return [before, branches]


@workflow("asyncio")
async def plain_asyncio(ctx: WorkflowContext, input: Any) -> Any:
    """What asyncio offers for several things at once."""

    async def own(value: int) -> Any:
        return await ctx.step("own", twice, value)

    async def with_tasks(value: int) -> int:
        """Tasks of a step are its own business."""
        return sum(await asyncio.gather(*(asyncio.to_thread(twice, value) for _ in range(3)), async_twice(value)))

    async def async_twice(value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    found: list[Any] = [await ctx.step("tasks", with_tasks, 1)]
    found += await asyncio.gather(ctx.step("gathered", twice, 1), ctx.step("gathered", twice, 2))
    found += await asyncio.gather(own(3), own(4))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(own(value)) for value in (5, 6)]
    found += [task.result() for task in tasks]
    found.append(await ctx.wait_for_signal("on"))
    found.append(await asyncio.wait_for(own(7), 60))
    found.append(await asyncio.wait_for(ctx.step("direct", twice, 8), 60))
    try:
        await asyncio.wait_for(ctx.step("late", begin_and_hang, input["file"], "late began"), 0.05)
    except TimeoutError:
        found.append("late")
    task = asyncio.create_task(own(9))
    found.append(await ctx.wait_for_signal("on"))
    found.append(await task)
    return found


@workflow("tasks-overlap")
async def tasks_overlap(ctx: WorkflowContext, input: Any) -> Any:
    """What was called early may begin late: its place is where it was called."""
    queue = asyncio.create_task(ctx.parallel(ctx.wait_for_signal("on"), ctx.step("last", twice, 1), concurrency=1))
    items = asyncio.create_task(ctx.map("item", twice, [1, 2, 3], concurrency=1))
    first = await ctx.step("first", twice, 2)
    for _ in range(100):
        await asyncio.sleep(0)
    second = await ctx.step("second", twice, 3)
    await ctx.wait_for_signal("now")
    return [first, second, await queue, await items]


@workflow("exits")
async def exits(ctx: WorkflowContext, input: Any) -> Any:
    import sys

    async def leave() -> None:
        sys.exit(3)

    if input == "body":
        sys.exit(3)
    if input == "task":
        await asyncio.create_task(leave())
    await ctx.step("leave", (lambda: sys.exit(3)) if input == "thread" else leave)


@workflow("cancels-itself")
async def cancels_itself(ctx: WorkflowContext, input: Any) -> Any:
    """The function of a step ends by a CancelledError, which nobody asked of it."""

    async def cancelled() -> None:
        task = asyncio.create_task(asyncio.Event().wait())
        task.cancel()
        await task

    def raised() -> None:
        raise asyncio.CancelledError

    function = cancelled if input == "task" else raised
    work = ctx.step("work", function, retry=Retry(max_attempts=2, initial_delay=0.01))
    settled = (await asyncio.gather(work, return_exceptions=True))[0]
    await ctx.wait_for_signal("go")
    return [type(settled).__name__, str(settled)]


@workflow("own-step-failed")
async def own_step_failed(ctx: WorkflowContext, input: Any) -> Any:
    """A StepFailed of the workflow's own making, with what none of runsd's has."""

    class Bare(StepFailed):
        def __init__(self) -> None:
            pass

    errors: list[StepFailed] = [StepFailed("\udc80", "message", 5, object()), StepFailed(6, "m", "c"), Bare()]  # type: ignore[arg-type]
    error = errors[input["number"]]

    def refuse() -> None:
        raise error

    if input["where"] == "step":
        await ctx.step("refuse", refuse)
    raise error


@workflow("in-context")
async def in_context(ctx: WorkflowContext, input: Any) -> Any:
    """What the workflow has set is seen by its steps, in a thread or not."""
    _LABEL.set(input)

    async def label() -> str:
        return _LABEL.get()

    return [await ctx.step("thread", _LABEL.get), await ctx.step("async", label)]


@workflow("fails-in-a-group")
async def fails_in_a_group(ctx: WorkflowContext, input: Any) -> Any:
    async def refuse(text: str) -> None:
        await ctx.step("quick", twice, 1)
        raise ValueError(text)

    async with asyncio.TaskGroup() as group:
        if input == "step":
            group.create_task(ctx.step("refuse", fail, "as asked"))
        else:
            group.create_task(refuse("as asked"))
        group.create_task(ctx.wait_for_signal("never"))


@workflow("left-running")
async def left_running(ctx: WorkflowContext, input: Any) -> Any:
    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            mark(input["file"], "background was ended")

    def in_thread() -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()

    left = asyncio.create_task(background())
    await ctx.step("thread", in_thread)
    assert not left.done()
    return "done"


@workflow("left-running/step")
async def left_running_step(ctx: WorkflowContext, input: Any) -> Any:
    """A step and a run that nobody awaits any more when the workflow ends."""
    left = [
        asyncio.create_task(ctx.step("hangs", begin_and_hang, input["file"], "began")),
        asyncio.create_task(ctx.run("task:hang")),
    ]
    await ctx.step("both", released, input["file"])
    await asyncio.wait(left, timeout=0)
    return "done"


@workflow("big-result")
async def big_result(ctx: WorkflowContext, input: Any) -> Any:
    return await ctx.step("big", lambda: "x" * input)


@workflow("bad-arguments")
async def bad_arguments(ctx: WorkflowContext, input: Any) -> Any:
    calls: dict[str, Callable[[], Any]] = {
        "name": lambda: ctx.step("a/b", twice, 1),
        "timeout": lambda: ctx.step("a", twice, 1, timeout="soon"),
        "retry": lambda: ctx.step("a", twice, 1, retry=-1),
        "strategy": lambda: ctx.parallel(strategy="any"),  # type: ignore[arg-type]
        "concurrency": lambda: ctx.map("a", twice, [], concurrency=0),
        "sleep": lambda: ctx.sleep("1 fortnight"),
        "event": lambda: ctx.emit("run.mine"),
    }
    return await calls[input]()


@workflow("skips")
async def skips(ctx: WorkflowContext, input: Any) -> Any:
    await ctx.skip("left-out", "nobody wants it")
    await ctx.wait_for_signal("on")
    return await ctx.step("after", twice, 1)
