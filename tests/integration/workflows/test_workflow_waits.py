"""Signals and sleeps, and what becomes of any wait when the daemon ends."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from runsd_client import (
    AsyncRunsClient,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    RunStatus,
)

from tests.integration.daemon import Daemon
from tests.integration.workflows.harness import (
    completed,
    events_of,
    execute,
    failed,
    killed_and_started,
    marks,
    start,
    states,
    steps,
    types,
    until,
    until_waiting,
)


async def test_waiting_run_says_what_for(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signal")
    run = await until_waiting(client, run_id)
    assert (run.status, run.waiting_reason, run.start_after) == (RunStatus.WAITING, "signal go", None)
    assert (run.steps[0].state.value, run.steps[0].kind.value) == ("waiting", "signal")
    waiting = await client.list(statuses=["waiting"])
    assert run_id in {listed.run_id for listed in waiting.data}
    answer = await client.signal(run_id, "go", {"n": 2**60})
    assert answer.accepted and not answer.duplicate
    assert await completed(client, run_id) == {"n": 2**60}
    events = await events_of(client, run_id)
    assert types(events, "run.") == [
        "run.created", "run.started", "run.waiting", "run.resumed", "run.completed",
    ]  # fmt: skip
    run = await client.get(run_id)
    assert (run.attempt, run.waiting_reason) == (1, "")


async def test_signal_may_come_before_the_start(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signal", start_after_seconds=0.2)
    answer = await client.signal(run_id, "go", "early")
    assert answer.run.status is RunStatus.PENDING
    assert await completed(client, run_id) == "early"


async def test_signals_are_taken_in_order_by_name(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signals", start_after_seconds=0.2)
    for name, payload in (("right", "r"), ("go", 1), ("go", 2), ("go", 3), ("other", 0), ("left", "l")):
        await client.signal(run_id, name, payload)
    assert await completed(client, run_id) == [[1, 2], ["l", "r"], 3]


async def test_signals_are_taken_one_at_a_time(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signals")
    for count, (name, payload) in enumerate((("go", 1), ("go", 2), ("left", "l"), ("right", None), ("go", 3)), 1):
        await until_waiting(client, run_id, count)
        await client.signal(run_id, name, payload)
    assert await completed(client, run_id) == [[1, 2], ["l", None], 3]


async def test_key_makes_one_signal(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signals", start_after_seconds=0.2)
    answers = await asyncio.gather(*(client.signal(run_id, "go", 1, idempotency_key="once") for _ in range(5)))
    assert sorted(answer.duplicate for answer in answers) == [False, True, True, True, True]
    await client.signal(run_id, "go", "second", idempotency_key="another")
    await until(client, run_id, "step.started", name="left")
    signals = [e.payload for e in await events_of(client, run_id) if e.event_type == "signal"]
    assert [signal["idempotency_key"] for signal in signals] == ["once", "another"]
    assert (await client.signal(run_id, "go", 1, idempotency_key="once")).duplicate
    await client.cancel(run_id)
    await client.wait(run_id, timeout=30)
    assert (await client.signal(run_id, "go", 1, idempotency_key="once")).duplicate, "also after the end"


async def test_signals_are_refused_where_they_make_no_sense(client: AsyncRunsClient) -> None:
    run = await execute(client, "steps")
    with pytest.raises(PreconditionError, match="takes no more signals"):
        await client.signal(run.run_id, "go")
    with pytest.raises(NotFoundError):
        await client.signal("no-such-run", "go")
    with pytest.raises(InvalidRequestError, match="name: is missing"):
        await client.signal(run.run_id, "")
    with pytest.raises(InvalidRequestError, match="payload_json"):
        await client.signal(run.run_id, "go", "x" * 300_000)


async def test_signal_may_come_too_late(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signal/late", "20ms")
    await until(client, run_id, "step.started", name="again")
    await client.signal(run_id, "go", "late")
    await client.signal(run_id, "again", "in time")
    caught, again = await completed(client, run_id)
    assert caught == ["go", "timeout", "no signal 'go' came in time", True]
    assert again == "in time"
    assert states(await client.get(run_id)) == {"go": "failed", "again": "completed"}


async def test_signal_in_time_ends_the_wait(client: AsyncRunsClient) -> None:
    run_id = await start(client, "signal/late", "1h")
    run = await until_waiting(client, run_id)
    (step,) = run.steps
    assert run.start_after and step.until and step.started_at
    assert timedelta(minutes=59) < step.until - step.started_at < timedelta(minutes=61)
    await client.signal(run_id, "go", "in time")
    assert await completed(client, run_id) == "in time"


async def test_signal_is_noticed_beside_work(client: AsyncRunsClient, tmp_path: Path) -> None:
    run_id = await start(client, "signal/beside-work", {"file": str(tmp_path / "marks")})
    await until(client, run_id, "step.started", name="busy")
    await client.signal(run_id, "go")
    assert await completed(client, run_id) == "done"
    assert types(await events_of(client, run_id), "run.") == ["run.created", "run.started", "run.completed"]


async def test_signal_from_the_first_moment_on_is_noticed(client: AsyncRunsClient, tmp_path: Path) -> None:
    """Wherever it falls while the workflow is brought into memory."""
    for round_number in range(10):
        file = tmp_path / f"marks-{round_number}"
        run_id = await start(client, "signal/beside-work", {"file": str(file)})
        await client.signal(run_id, "go")
        assert await completed(client, run_id) == "done"


async def test_sleeps_pause_the_run(client: AsyncRunsClient) -> None:
    run = await execute(client, "naps", [0, "10ms", 0.3])
    assert run.output == "rested"
    nap = steps(run)["nap-2"]
    assert nap.started_at and nap.completed_at
    assert nap.completed_at - nap.started_at >= timedelta(seconds=0.3)
    run_id = await start(client, "naps", ["2h"])
    waiting = await until_waiting(client, run_id)
    assert waiting.waiting_reason == "sleep"
    assert waiting.steps[0].until == waiting.start_after
    await client.cancel(run_id)
    assert (await client.wait(run_id, timeout=30)).status is RunStatus.CANCELLED


async def test_retry_of_a_step_is_waited_for_outside_memory(client: AsyncRunsClient, tmp_path: Path) -> None:
    file = tmp_path / "marks"
    run_id = await start(client, "busy-retry", {"file": str(file), "delay": 0.5})
    run = await until_waiting(client, run_id)
    (step,) = run.steps
    assert (step.state.value, step.attempt) == ("pending", 1) and step.until is not None
    assert await completed(client, run_id) == "ValueError: no good"
    assert marks(file) == ["tried"] * 2


async def test_waits_survive_kills(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The daemon is killed in the middle of each kind of wait; deadlines stay where they were."""
    daemon = make_daemon()
    daemon.start()
    file = tmp_path / "marks"
    async with AsyncRunsClient(daemon.address) as client:
        given = {"file": str(file), "timeout": "3s", "nap": "3s"}
        run_id = await start(client, "every-wait", given)
        await until(client, run_id, "run.waiting", reason="signal go")
    async with killed_and_started(daemon) as client:
        assert (await client.get(run_id)).status is RunStatus.WAITING
        await client.signal(run_id, "go")
        await until(client, run_id, "run.waiting", reason="approval review")
    async with killed_and_started(daemon) as client:
        await client.approve(run_id, "review", by="ann")
        child_id = (await until(client, run_id, "step.started", name="child")).payload["child_run_id"]
        await until(client, run_id, "run.waiting", reason=f"run {child_id}")
    async with killed_and_started(daemon) as client:
        await client.signal(child_id, "go", "from the child")
        await until(client, run_id, "run.waiting", reason="signal never")
        deadlines = {"never": steps(await client.get(run_id))["never"].until}
    async with killed_and_started(daemon) as client:
        assert steps(await client.get(run_id))["never"].until == deadlines["never"]
        await until(client, run_id, "run.waiting", reason="sleep")
        deadlines["sleep"] = steps(await client.get(run_id))["sleep"].until
    async with killed_and_started(daemon) as client:
        assert await completed(client, run_id) == "from the child"
        await _met(client, run_id, deadlines)
        run = await client.get(run_id)
        assert (run.attempt, set(states(run).values())) == (1, {"completed", "failed"})
    assert marks(file) == ["begin", "signalled", "approved", "ran", "timed out", "woken"]
    assert daemon.stop() == 0


async def _met(client: AsyncRunsClient, run_id: str, deadlines: dict[str, Any]) -> None:
    """Never before, and well after only if the daemon was not there."""
    tree = steps(await client.get(run_id))
    for step_id, deadline in deadlines.items():
        ended = tree[step_id].completed_at
        # The record's moments are rounded to milliseconds.
        assert ended and ended >= deadline - timedelta(milliseconds=1), (step_id, ended, deadline)


async def test_waits_survive_a_graceful_restart(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        waiting = await start(client, "signal")
        await until_waiting(client, waiting)
        lingering = await start(client, "child", {"target": "workflow:signal"})
        await until(client, lingering, "step.started")
    assert daemon.stop() == 0
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        await client.signal(waiting, "go", 1)
        assert await completed(client, waiting) == 1
        child_id = (await client.get(lingering)).steps[0].child_run_id
        await client.signal(child_id, "go", 2)
        assert await completed(client, lingering) == 2
    assert daemon.stop() == 0


async def test_crowd_is_woken_at_once(client: AsyncRunsClient) -> None:
    run_ids = await asyncio.gather(*(start(client, "crowd", n) for n in range(300)))
    await asyncio.gather(*(until_waiting(client, run_id) for run_id in run_ids))
    await asyncio.gather(*(client.signal(run_id, "go", n) for n, run_id in enumerate(run_ids)))
    outputs = await asyncio.gather(*(completed(client, run_id) for run_id in run_ids))
    assert outputs == [n * 2 for n in range(300)]


async def test_waiting_run_whose_definition_is_gone_fails(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    toml = project / "runs.toml"
    toml.write_text('[project]\nid = "p"\n[[workflows.gone.steps]]\nid = "go"\nwait = { signal = "go" }\n')
    daemon = make_daemon(project=project)
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "gone")
        await until_waiting(client, run_id)
        toml.write_text('[project]\nid = "p"\n')
        await client.reload()
        assert (await client.get(run_id)).status is RunStatus.WAITING
        await client.signal(run_id, "go")
        run = await failed(client, run_id, "target_not_found")
        assert run.error is not None and "workflow:gone" in run.error.message
        assert states(run) == {"go": "cancelled"}
    assert daemon.stop() == 0


NOISE = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO events (position, run_no, event_id, event_type, payload_json, created_at)
SELECT (SELECT max(position) FROM events) + i, run_no, (SELECT max(event_id) FROM events WHERE run_no = r.run_no) + i,
    'signal', '{{"name":"noise","payload":"' || hex(zeroblob({size} / 2)) || '"}}', updated_at
FROM runs r, n WHERE run_id = '{run_id}'
"""


@pytest.mark.parametrize(
    ("count", "size", "limit"), [(49_996, 0, "50,000 events"), (510, 131_072, "64 MiB")], ids=["events", "bytes"]
)
async def test_full_record_takes_no_more_signals(
    make_daemon: Callable[..., Daemon], count: int, size: int, limit: str
) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run_id = await start(client, "signal")
        await until_waiting(client, run_id)
        assert not (await client.signal(run_id, "noise", "early", idempotency_key="early")).duplicate
        await until_waiting(client, run_id, 2)
        daemon.stop()
        with closing(sqlite3.connect(daemon.state / "runsd.db")) as database, database:
            database.execute(NOISE.format(count=count, size=size, run_id=run_id))
        daemon.start()
        await client.signal(run_id, "noise", "y" * size)
        await until_waiting(client, run_id, 3)
        with pytest.raises(PreconditionError, match=f"fill its record, which takes {limit}") as refused:
            await client.signal(run_id, "go", "y" * size)
        assert refused.value.reason == "RECORD_FULL"
        assert (await client.signal(run_id, "noise", "early", idempotency_key="early")).duplicate, "it was taken before"
        assert (await client.get(run_id)).status is RunStatus.WAITING
        (last,) = (await client.events(run_id, after_event_id=count + 9)).data
        assert last.event_type == "run.waiting", "nothing was added"
        await client.signal(await start(client, "signal"), "go")
        await client.cancel(run_id)
        assert (await client.wait(run_id)).status is RunStatus.CANCELLED
    assert daemon.stop() == 0
