"""The daemon is ended at every named point, one life after the other, while a schedule fires every second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from runsd_client.proto import run_pb2, runs_pb2, runs_pb2_grpc, schedules_pb2_grpc
from runsd_client.proto import schedules_pb2 as pb

from runsd.crashpoints import EXIT_STATUS, VARIABLE
from runsd.engine.verification import verify
from runsd.store.verification import Counts, Violation
from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import PATIENCE_SECONDS, Daemon
from tests.torture.schedules import SECOND
from tests.torture.test_crash_points import CRASHES

if TYPE_CHECKING:
    from runsd_client.proto.runs_pb2_grpc import RunsAsyncStub
    from runsd_client.proto.schedules_pb2_grpc import SchedulesAsyncStub

SCHEDULE = "every-second"
LIMIT = 1000
TERMINAL = ("run.completed", "run.failed", "run.cancelled")


async def test_each_occurrence_has_one_run(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:  # noqa: F811
    proof = tmp_path / "proof"
    daemon = make_daemon()
    daemon.start()
    created_at = await _create(daemon, f"echo $RUNSD_RUN_ID >>{proof}; printf kept >$RUNSD_ARTIFACTS/kept; echo one")
    daemon.kill()
    for crash in CRASHES:
        daemon.set_env({VARIABLE: crash})
        daemon.launch()
        assert await asyncio.to_thread(daemon.wait) == EXIT_STATUS, f"{crash} was not reached"
    daemon.set_env({})
    daemon.start()
    runs = await _made_until_paused(daemon)
    moments = sorted(run.scheduled_for.ToMicroseconds() for run in runs)
    first = (created_at // SECOND + 1) * SECOND
    assert moments == list(range(first, first + len(moments) * SECOND, SECOND)), "each once, none missing"
    assert {run.status for run in runs} == {run_pb2.RUN_STATUS_COMPLETED}
    assert sorted(proof.read_text().split()) == sorted(run.run_id for run in runs), "executed once"
    assert len(runs) >= len(CRASHES)
    assert daemon.stop() == 0
    assert [f for f in verify(daemon.state, Counts(), deep=True) if isinstance(f, Violation)] == []


async def _create(daemon: Daemon, script: str) -> int:
    spec = pb.ScheduleSpec(
        target="task:script",
        timetable=pb.Timetable(every_seconds=1),
        input_json=json.dumps(script),
        catch_up=pb.CATCH_UP_ALL,
    )
    async with grpc.aio.insecure_channel(daemon.address) as channel:
        stub: SchedulesAsyncStub = schedules_pb2_grpc.SchedulesStub(channel)
        answer = await stub.CreateSchedule(pb.CreateScheduleRequest(schedule_id=SCHEDULE, spec=spec))
    return answer.schedule.created_at.ToMicroseconds()


async def _made_until_paused(daemon: Daemon) -> list[run_pb2.Run]:
    """Its runs, all of which have ended; it is paused once it has made one in time, and so those before."""
    async with asyncio.timeout(PATIENCE_SECONDS), grpc.aio.insecure_channel(daemon.address) as channel:
        runs: RunsAsyncStub = runs_pb2_grpc.RunsStub(channel)
        schedules: SchedulesAsyncStub = schedules_pb2_grpc.SchedulesStub(channel)
        await _until_one_is_made_in_time(runs)
        await schedules.PauseSchedule(pb.PauseScheduleRequest(schedule_id=SCHEDULE))
        ids = {run.run_id for run in await _list(runs)}
        request = runs_pb2.WatchEventsRequest(event_types=TERMINAL, after_position=0)
        async for page in runs.WatchEvents(request):
            ids -= {watched.run_id for watched in page.data}
            if not ids:
                break
        return await _list(runs)


async def _until_one_is_made_in_time(stub: RunsAsyncStub) -> None:
    async for page in stub.WatchEvents(runs_pb2.WatchEventsRequest(event_types=["run.created"])):
        for watched in page.data:
            run = (await stub.GetRun(runs_pb2.GetRunRequest(run_id=watched.run_id))).run
            if run.created_at.ToMicroseconds() < run.scheduled_for.ToMicroseconds() + SECOND:
                return


async def _list(stub: RunsAsyncStub) -> list[run_pb2.Run]:
    page = await stub.ListRuns(runs_pb2.ListRunsRequest(schedule_id=SCHEDULE, limit=LIMIT))
    return list(page.data)
