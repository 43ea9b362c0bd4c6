"""Runs that are created at the same time: few calls, and for each caller what CreateRun would have answered."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest
from runsd_client import AsyncRunsClient, CreateAnswer, NewRun, NotFoundError, OverloadedError, UnreachableError
from runsd_client.create_batches import LARGEST_REQUEST_BYTES, MOST_CALLS, MOST_RUNS, CreateBatches
from runsd_client.proto.runs_pb2 import CreateRunRequest

from tests.unit.client.fake_answers import LOST, Failure
from tests.unit.client.fake_daemon import FakeDaemon

REFUSED = Failure(grpc.StatusCode.NOT_FOUND, "there is no such target", "TARGET_NOT_FOUND")


def _sizes(daemon: FakeDaemon) -> list[int]:
    """How many runs each call was for; 0 for CreateRun."""
    return [len(getattr(received.request, "requests", ())) for received in daemon.state.received]


async def _created(client: AsyncRunsClient, count: int) -> list[CreateAnswer]:
    return await asyncio.gather(*(client.create(NewRun("task:a", input=n, config=[n])) for n in range(count)))


async def test_created_at_once_travel_together(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        answers = await _created(client, 20)
    assert _sizes(daemon) == [20]
    assert [(a.run.input, a.run.config, a.duplicate) for a in answers] == [(n, [n], False) for n in range(20)]
    stored = [daemon.state.runs[a.run.run_id] for a in answers]
    assert [(run.input_json, run.config_json) for run in stored] == [(f"{n}", f"[{n}]") for n in range(20)]


async def test_one_after_the_other_goes_alone(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        for n in range(3):
            assert (await client.create(NewRun("task:a", input=n))).run.input == n
    assert _sizes(daemon) == [0, 0, 0]


async def test_many_fill_calls_of_a_limited_size(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    count = MOST_RUNS * (MOST_CALLS + 2) + 1
    async with async_client as client:
        answers = await _created(client, count)
    assert sorted(_sizes(daemon)) == [0, *[MOST_RUNS] * (MOST_CALLS + 2)]
    assert sorted(a.run.input for a in answers) == list(range(count))
    assert len({a.run.run_id for a in answers}) == count


async def test_projects_do_not_mix(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        answers = await asyncio.gather(
            *(client.create(NewRun("task:a", input=n), project="ab"[n % 2]) for n in range(10))
        )
    assert _sizes(daemon) == [5, 5]
    assert [a.run.project for a in answers] == ["a", "b"] * 5


async def test_large_ones_go_alone(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    large = "x" * LARGEST_REQUEST_BYTES
    async with async_client as client:
        answers = await asyncio.gather(*(client.create(NewRun("task:a", input=i)) for i in (1, large, 2)))
    assert sorted(_sizes(daemon)) == [0, 2]
    assert [a.run.input for a in answers] == [1, large, 2]


async def test_refused_together_is_asked_alone(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    daemon.state.failures["BatchCreateRuns"].append(REFUSED)
    daemon.state.failures["CreateRun"].append(REFUSED)
    async with async_client as client:
        answers = await asyncio.gather(
            *(client.create(NewRun("task:a", input=n)) for n in range(5)), return_exceptions=True
        )
    assert Counter(type(answer) for answer in answers) == {CreateAnswer: 4, NotFoundError: 1}
    assert _sizes(daemon) == [5, 0, 0, 0, 0, 0]


async def test_a_lost_answer_creates_nothing_twice(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    daemon.state.lost_answers["BatchCreateRuns"].append(LOST)
    async with async_client as client:
        answers = await _created(client, 20)
    assert len(daemon.state.runs) == 20
    assert [(a.run.input, a.run.config, a.duplicate) for a in answers] == [(n, [n], True) for n in range(20)]


async def test_no_room_is_tried_again(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    full = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full", "DISK_FULL")
    daemon.state.failures["BatchCreateRuns"].extend([full] * 9)
    daemon.state.failures["CreateRun"].extend([full] * 9)
    async with async_client as client:
        answers = await asyncio.gather(*(client.create(NewRun("task:a")) for _ in range(4)), return_exceptions=True)
    assert len(daemon.state.runs) == sum(isinstance(answer, CreateAnswer) for answer in answers)
    assert all(isinstance(answer, CreateAnswer | OverloadedError) for answer in answers)
    assert len(_sizes(daemon)) > 5


async def test_a_known_key_gives_the_run_as_it_is(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    known = NewRun("task:a", input=[1], idempotency_key="k")
    async with async_client as client:
        first = await client.create(known)
        daemon.state.runs[first.run.run_id].logs = "so far\n"
        again, new = await asyncio.gather(client.create(known), client.create(NewRun("task:a", input=[1])))
    assert again.duplicate
    assert (again.run.run_id, again.run.input, again.run.logs) == (first.run.run_id, [1], "so far\n")
    assert not new.duplicate


async def test_who_gives_up_takes_no_other_with_them(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        tasks = [asyncio.create_task(client.create(NewRun("task:a", input=n))) for n in range(6)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [answer.run.input for answer in answers[1:] if isinstance(answer, CreateAnswer)] == [1, 2, 3, 4, 5]


async def test_what_was_given_up_before_it_was_sent_is_not_sent(
    daemon: FakeDaemon, async_client: AsyncRunsClient
) -> None:
    async with async_client as client:
        tasks = [asyncio.create_task(client.create(NewRun("task:a", input=n))) for n in range(6)]
        await asyncio.sleep(0)  # all of them have begun now, and none is sent
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(run.input_json for run in daemon.state.runs.values()) == ["1", "3", "5"]
        gone = [asyncio.create_task(client.create(NewRun("task:a"))) for _ in range(3)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        await client._creates.ended()
        assert (await client.create(NewRun("task:a", input="after"))).run.input == "after"
    assert len(daemon.state.runs) == 4


async def test_all_hear_at_once_that_nobody_answers() -> None:
    """Also those for which no call had room yet."""
    calls = asyncio.Barrier(MOST_CALLS + 1)
    made = []

    async def once(call: object) -> object:
        made.append(call)
        await calls.wait()
        raise grpc.RpcError

    batches = CreateBatches(once, lambda error: UnreachableError("gone", "address"))  # type: ignore[arg-type]
    requests = [CreateRunRequest(target=f"task:{n}") for n in range(MOST_RUNS * (MOST_CALLS + 3))]
    waiting = [asyncio.create_task(batches.answer(request)) for request in requests]
    await calls.wait()
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in errors} == {grpc.RpcError}
    assert len(made) == MOST_CALLS
    await batches.ended()


async def test_closing_ends_what_is_under_way(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    async with async_client as client:
        await client.create(NewRun("task:a"))
        tasks = [asyncio.create_task(client.create(NewRun("task:a"))) for _ in range(3)]
        await asyncio.sleep(0)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(_result_of(task))
    assert {getattr(error, "reason", "") for error in caught.value.exceptions} == {"CLIENT_CLOSED"}


async def _result_of(task: asyncio.Task[CreateAnswer]) -> CreateAnswer:
    return await task
