"""The schedules of the torture: every concurrency policy with every way to catch up, due every second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import schedules_pb2 as pb

# A coroutine and a process. What a run does follows from the last digit of its id: see `is_to_fail`.
TICK, TOCK = "task:tick", "task:tock"
FAILING_DIGIT = "f"
SECOND = 1_000_000
MINUTE = 60 * SECOND
MAX_RUNS = 4
JITTER_SECONDS = 0.4
SECONDS_OF_QUEUES = 3
ALLOW, FORBID, REPLACE, QUEUE = (
    pb.CONCURRENCY_POLICY_ALLOW,
    pb.CONCURRENCY_POLICY_FORBID,
    pb.CONCURRENCY_POLICY_REPLACE,
    pb.CONCURRENCY_POLICY_QUEUE,
)
NONE, LATEST, ALL = pb.CATCH_UP_NONE, pb.CATCH_UP_LATEST, pb.CATCH_UP_ALL

TASKS = """
import asyncio

from runsd import task

PACES = {"a": 0.3, "b": 0.3, "c": 0.3, "d": 0.3, "e": 0.8}


@task("tick", adapter="inprocess")
async def tick(ctx):
    digit = ctx.run_id[-1]
    await asyncio.sleep(PACES.get(digit, 0.05 if digit > "4" else 0))
    if digit == "f":
        raise RuntimeError("as it was told")
"""
TOCK_TABLE = """
[tasks.tock]
command = ["sh", "-c", "case $RUNSD_RUN_ID in *[6-9]) sleep 0.3;; *[abc]) sleep 1;; *[de]) sleep 3;; *f) exit 3;; esac"]
"""


@dataclass(frozen=True, slots=True)
class ScheduleWish:
    """`is_disturbed`: it is paused, resumed, changed, deleted and made again, and made up for."""

    schedule_id: str
    target: str
    policy: pb.ConcurrencyPolicy.ValueType
    catch_up: pb.CatchUp.ValueType
    is_disturbed: bool = False
    seconds: int = 1
    cron: str = ""
    jitter_seconds: float = 0.0
    max_runs: int = 0

    @property
    def step(self) -> int:
        """Microseconds between occurrences, which are whole multiples of it."""
        return MINUTE if self.cron else self.seconds * SECOND

    def spec(self, description: str = "", end_at: int | None = None) -> pb.ScheduleSpec:
        every = None if self.cron else float(self.seconds)
        return pb.ScheduleSpec(
            target=self.target,
            timetable=pb.Timetable(cron=self.cron, every_seconds=every, end_at=moment(end_at)),
            description=description,
            concurrency_policy=self.policy,
            catch_up=self.catch_up,
            jitter_seconds=self.jitter_seconds,
            max_runs=self.max_runs,
            backoff_limit=0,
        )


def moment(microseconds: int | None) -> Timestamp | None:
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, SECOND)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def wishes() -> Iterator[ScheduleWish]:
    policies = {"allow": ALLOW, "forbid": FORBID, "replace": REPLACE, "queue": QUEUE}
    for (policy, number), (name, catch_up) in product(
        policies.items(), {"none": NONE, "latest": LATEST, "all": ALL}.items()
    ):
        target = TICK if (catch_up == ALL) == (number == QUEUE) else TOCK
        yield ScheduleWish(f"{policy}/{name}", target, number, catch_up, is_disturbed=True, seconds=_seconds(number))
    for policy, number in policies.items():
        target = TICK if number == QUEUE else TOCK
        yield ScheduleWish(f"quiet/{policy}", target, number, ALL, seconds=_seconds(number))
    yield ScheduleWish("quiet/latest", TICK, ALLOW, LATEST)
    yield ScheduleWish("quiet/none", TICK, ALLOW, NONE)
    yield ScheduleWish("cron", TICK, ALLOW, ALL, cron="* * * * *")
    yield ScheduleWish("jitter", TICK, ALLOW, ALL, jitter_seconds=JITTER_SECONDS)
    yield ScheduleWish("few", TICK, ALLOW, LATEST, max_runs=MAX_RUNS)
    yield ScheduleWish("few/queue", TOCK, QUEUE, ALL, max_runs=MAX_RUNS)


def _seconds(policy: pb.ConcurrencyPolicy.ValueType) -> int:
    """A queue has to be done with at the end, though the daemon is there for part of the time only."""
    return SECONDS_OF_QUEUES if policy == QUEUE else 1


def is_to_fail(run_id: str) -> bool:
    return run_id.endswith(FAILING_DIGIT)
