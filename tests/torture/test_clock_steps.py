"""Somebody sets the clock: waits end when they should, and no run ends before it began.

A test cannot set the machine's clock. It has a task of its own do so inside the daemon, where the
daemon asks for the time: in the one process there is nothing else that shows the wall clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, Event, Run, RunStatus

from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import PATIENCE_SECONDS, Daemon
from tests.integration.test_cancelling import begun
from tests.integration.test_schedules import made_by
from tests.integration.wall_clock import environment, install

MakeDaemon = Callable[..., Daemon]
DAY = 86_400
# What a process's start is known by, and some more.
TICK_SECONDS = 0.02

RUNS_TOML = """
[project]
id = "clock-steps"
modules = ["clock_tasks"]
"""

TASKS = """
import asyncio
import time
from pathlib import Path

import wall_clock
from runsd import task


def note(ctx):
    ctx.emit("noted", {"at": time.clock_gettime(time.CLOCK_BOOTTIME)})


@task("put-clock-ahead", adapter="inprocess")
async def put_clock_ahead(ctx):
    wall_clock.put_ahead(ctx.input)
    return time.time()


@task("set-clock-ahead", adapter="inprocess")
async def set_clock_ahead(ctx):
    # The kernel is told, too: of a time that is all but the one that it has.
    wall_clock.put_ahead(ctx.input)
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    except PermissionError:
        return False
    return True


@task("quick", adapter="inprocess")
async def quick(ctx):
    pass


@task("fail", adapter="inprocess")
async def fail(ctx):
    note(ctx)
    if ctx.attempt <= ctx.input:
        raise RuntimeError("as it was told")


@task("wait", adapter="inprocess")
async def wait(ctx):
    note(ctx)
    try:
        await asyncio.Event().wait()
    finally:
        note(ctx)


@task("wait/process")
def wait_in_process(ctx):
    note(ctx)
    try:
        while not Path(ctx.input).exists():
            time.sleep(0.01)
    finally:
        note(ctx)
"""


def steady_now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    install(project)
    for name, text in {"runs.toml": RUNS_TOML, "clock_tasks.py": TASKS}.items():
        (project / name).write_text(text)
    return project


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file that ends processes; it is there in the end, whatever becomes of the test."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


@pytest.fixture
def started(make_daemon: MakeDaemon, project: Path) -> Callable[[float], Daemon]:  # noqa: F811
    def start(retry_seconds: float) -> Daemon:
        daemon = make_daemon(
            project=project,
            settings=f"[cancel]\ngrace_seconds = 30\n[retry]\ninitial_delay_seconds = {retry_seconds}\njitter = 0.0\n",
            env=environment(project, ahead=0),
        )
        daemon.start()
        return daemon

    return start


async def step(client: AsyncRunsClient, seconds: int) -> None:
    run = (await client.create_task_run("task:put-clock-ahead", input=seconds)).run
    shown = (await client.wait(run.run_id, timeout=PATIENCE_SECONDS)).output
    assert abs(shown - time.time() - seconds) < DAY / 2


@dataclass(frozen=True, slots=True)
class Waits:
    """Runs that wait, each in its way, until `due` by the steady clock, or a little later."""

    due: float
    delayed: str
    retried: str
    expiring: str
    timed_out: str
    timed_out_process: str

    def assert_not_due_yet(self) -> None:
        if steady_now() >= self.due - TICK_SECONDS:
            pytest.skip("the machine is too slow just now to tell early from late")


async def begin_waits(client: AsyncRunsClient, seconds: float, gate: Path) -> Waits:
    due = steady_now() + seconds
    holder = await begun(client, "task:wait/process", "noted", input=str(gate), concurrency_key=str(due))
    return Waits(
        due,
        delayed=(await client.create_task_run("task:fail", input=0, start_after_seconds=seconds)).run.run_id,
        retried=(await begun(client, "task:fail", "run.retrying", input=1, backoff_limit=1)).run_id,
        expiring=(
            await client.create_task_run(
                "task:fail", concurrency_key=holder.concurrency_key, expires_after_seconds=seconds
            )
        ).run.run_id,
        timed_out=(await begun(client, "task:wait", "noted", timeout_seconds=seconds)).run_id,
        timed_out_process=(
            await begun(client, "task:wait/process", "noted", input=str(gate), timeout_seconds=seconds)
        ).run_id,
    )


async def assert_all_end_when_due(client: AsyncRunsClient, waits: Waits, seconds: float) -> None:
    """Never early; how late is the machine's affair, as long as it is within a test's patience."""
    earliest = waits.due - TICK_SECONDS
    delayed, retried, expired, *timed_out = await asyncio.gather(
        ended(client, waits.delayed),
        ended(client, waits.retried),
        ended(client, waits.expiring),
        ended(client, waits.timed_out),
        ended(client, waits.timed_out_process),
    )
    assert delayed.run.status is retried.run.status is RunStatus.COMPLETED
    assert delayed.noted[0] >= earliest
    first, second = retried.noted
    assert second - first >= seconds - TICK_SECONDS
    assert (expired.code, expired.run.attempt) == ("expired", 0)
    assert expired.seen_at >= earliest
    for one in timed_out:
        assert one.code == "timeout"
        assert one.noted[-1] >= earliest


@dataclass(frozen=True, slots=True)
class Ended:
    """`noted` is when the run's code said it was executing, `seen_at` when its end was known here."""

    run: Run
    noted: list[float]
    seen_at: float

    @property
    def code(self) -> str:
        return self.run.error.code if self.run.error else ""


async def ended(client: AsyncRunsClient, run_id: str) -> Ended:
    run = await client.wait(run_id, timeout=PATIENCE_SECONDS)
    seen_at = steady_now()
    events = [event async for event in client.replay(run_id)]
    return Ended(run, [event.payload["at"] for event in events if event.event_type == "noted"], seen_at)


async def assert_ordered(client: AsyncRunsClient) -> None:
    async for run in client.list_all():
        events: list[Event] = [event async for event in client.replay(run.run_id)]
        assert [event.event_id for event in events] == list(range(1, len(events) + 1))
        stamps = [event.created_at for event in events if event.created_at]
        assert len(stamps) == len(events) and stamps == sorted(stamps), "the order of time is the order of ids"
        moments = [moment for moment in (run.created_at, run.started_at, run.completed_at) if moment]
        assert moments == sorted(moments)
        assert run.duration_ms is None or run.duration_ms >= 0


@pytest.mark.parametrize("seconds_ahead", [DAY, -DAY])
async def test_waits_end_when_due(started: Callable[[float], Daemon], gate: Path, seconds_ahead: int) -> None:
    seconds = 4.0
    daemon = started(seconds)
    async with AsyncRunsClient(daemon.address) as client:
        waits = await begin_waits(client, seconds, gate)
        await step(client, seconds_ahead)
        waits.assert_not_due_yet()
        begun_after = await begin_waits(client, seconds, gate)
        await assert_all_end_when_due(client, waits, seconds)
        await assert_all_end_when_due(client, begun_after, seconds)
        await assert_ordered(client)
        stamped_at = (await client.get(begun_after.timed_out)).created_at
        assert stamped_at is not None
        was_stamped_a_day_ahead = stamped_at.timestamp() > time.time() + DAY / 2
        # Set back, events keep the latest time that there has been until the clock has come up with it.
        assert was_stamped_a_day_ahead == (seconds_ahead > 0)
    assert daemon.stop() == 0


@pytest.mark.parametrize("seconds_ahead", [DAY, -DAY])
async def test_waits_end_when_due_after_a_restart(
    started: Callable[[float], Daemon], gate: Path, seconds_ahead: int
) -> None:
    """The clock is stepped and, while no daemon is there, put right again."""
    seconds = 10.0
    daemon = started(seconds)
    async with AsyncRunsClient(daemon.address) as client:
        waits = await begin_waits(client, seconds, gate)
        await step(client, seconds_ahead)
        begun_after = await begin_waits(client, seconds, gate)
        daemon.kill()
        await asyncio.to_thread(daemon.start)
        waits.assert_not_due_yet()
        await assert_all_end_when_due(client, waits, seconds)
        await assert_all_end_when_due(client, begun_after, seconds)
        assert (await client.get(waits.timed_out_process)).attempt == 1, "taken up"
        await assert_ordered(client)
    assert daemon.stop() == 0


@pytest.mark.parametrize("seconds_ahead", [DAY, -DAY])
async def test_clock_that_is_another_after_a_restart(
    started: Callable[[float], Daemon], project: Path, gate: Path, seconds_ahead: int
) -> None:
    """Stored moments are the wall clock's: a day later an hour is over. What executes is not touched by it."""
    daemon = started(1.0)
    async with AsyncRunsClient(daemon.address) as client:
        executing = await begun(client, "task:wait/process", "noted", input=str(gate), timeout_seconds=3600)
        delayed = (await client.create_task_run("task:fail", input=0, start_after_seconds=3600)).run
        assert daemon.stop() == 0
        daemon.set_env(environment(project, seconds_ahead))
        await asyncio.to_thread(daemon.start)
        if seconds_ahead > 0:
            completed = await client.wait(delayed.run_id, timeout=PATIENCE_SECONDS)
            assert completed.status is RunStatus.COMPLETED
        assert (await client.get(executing.run_id)).status is RunStatus.RUNNING
        gate.touch()
        completed = await client.wait(executing.run_id, timeout=PATIENCE_SECONDS)
        assert (completed.status, completed.attempt) == (RunStatus.COMPLETED, 1)
        await assert_ordered(client)
    assert daemon.stop() == 0


async def test_schedules_go_by_a_clock_that_is_set(started: Callable[[float], Daemon]) -> None:
    """An hour ahead: what is due by then is made at once, not when the timer would have ended."""
    daemon = started(0.01)
    async with AsyncRunsClient(daemon.address) as client:
        anchor = datetime.now(UTC) + timedelta(minutes=5)
        await client.schedules.create("due", "task:quick", every="10m", anchor=anchor, catch_up="all")
        run = (await client.create_task_run("task:set-clock-ahead", input=3600)).run
        if not (await client.wait(run.run_id, PATIENCE_SECONDS)).output:
            pytest.skip("the clock may not be set here")
        runs = await made_by(client, "due", 6)
    assert [made.scheduled_for for made in runs] == [anchor + n * timedelta(minutes=10) for n in range(6)]
