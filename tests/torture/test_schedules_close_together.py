"""Schedules due one right after the other: what comes due while the ticker looks for the next is not slept over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import runs_pb2, runs_pb2_grpc, schedules_pb2_grpc
from runsd_client.proto import schedules_pb2 as pb

from runsd.engine.ticker import DEFECT_PAUSE
from runsd.model.times import MICROSECONDS
from tests.integration.conftest import make_daemon  # noqa: F401 - a fixture
from tests.integration.daemon import Daemon

COUNT = 150
GAP = MICROSECONDS // 50
BEGIN = 2 * MICROSECONDS
# Of the longest that the ticker sleeps though something is due.
PATIENCE_SECONDS = DEFECT_PAUSE / MICROSECONDS / 2


async def test_none_is_slept_over(make_daemon: Callable[..., Daemon]) -> None:  # noqa: F811
    daemon = make_daemon()
    daemon.start()
    begin = time.time_ns() // 1000 + BEGIN
    async with grpc.aio.insecure_channel(daemon.address) as channel, asyncio.timeout(PATIENCE_SECONDS):
        schedules = schedules_pb2_grpc.SchedulesStub(channel)
        requests = [_request(f"number/{number}", begin + number * GAP) for number in range(COUNT)]
        await asyncio.gather(*map(schedules.CreateSchedule, requests))
        watch = runs_pb2.WatchEventsRequest(event_types=["run.created"], after_position=0)
        made = 0
        async for page in runs_pb2_grpc.RunsStub(channel).WatchEvents(watch):
            made += len(page.data)
            if made == COUNT:
                break
    assert daemon.stop() == 0


def _request(schedule_id: str, at: int) -> pb.CreateScheduleRequest:
    stamp = Timestamp()
    stamp.FromMicroseconds(at)
    # Long after the test: runs that end wake the ticker, too.
    spec = pb.ScheduleSpec(target="task:true", timetable=pb.Timetable(at=stamp), jitter_seconds=86_400)
    return pb.CreateScheduleRequest(schedule_id=schedule_id, spec=spec)
