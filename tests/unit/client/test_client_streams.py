"""Streams: every item once and in order, whatever becomes of the connection."""

from __future__ import annotations

import contextlib
import threading

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runsd_client import (
    AsyncRunsClient,
    InvalidRequestError,
    NotFoundError,
    RetryPolicy,
    RunsClient,
    RunsError,
    UnreachableError,
)
from runsd_client.proto import run_pb2

from tests.unit.client.fake_daemon import LOST, Failure, FakeDaemon

CANCELLED = Failure(grpc.StatusCode.CANCELLED, "CANCELLED")
STOPPING = Failure(grpc.StatusCode.UNAVAILABLE, "the daemon is stopping", "STOPPING")
RESET = Failure(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
ENDS_OF_A_STREAM = [LOST, CANCELLED, STOPPING, RESET, None]


def a_long_run(daemon: FakeDaemon, logs: int = 20) -> str:
    run_id = daemon.add_run()
    daemon.emit_logs(run_id, (f"line {n}\n" for n in range(logs)))
    daemon.finish(run_id)
    return run_id


def test_follow_gives_every_event_and_ends(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = a_long_run(daemon)
    events = list(client.follow(run_id))
    assert [e.event_id for e in events] == list(range(1, 23))
    assert events[-1].event_type == "run.completed"
    assert events[1].payload == {"stream": "stdout", "text": "line 0\n"}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    breaks=st.lists(st.tuples(st.integers(0, 8), st.sampled_from(ENDS_OF_A_STREAM)), max_size=8),
    after=st.integers(0, 22),
    repeats=st.booleans(),
)
def test_follow_neither_skips_nor_repeats(
    daemon: FakeDaemon,
    client: RunsClient,
    breaks: list[tuple[int, Failure | None]],
    after: int,
    repeats: bool,
) -> None:
    run_id = a_long_run(daemon) if not daemon.state.runs else "run-1"
    daemon.state.breaks.clear()
    daemon.state.breaks.extend(breaks)
    daemon.state.repeats = repeats
    events = list(client.follow(run_id, after_event_id=after))
    assert [e.event_id for e in events] == list(range(after + 1, 23))


async def test_async_follow_reconnects(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    run_id = a_long_run(daemon)
    daemon.state.breaks.extend([(2, LOST), (0, LOST), (5, CANCELLED), (0, None), (1, STOPPING)])
    async with async_client as client:
        ids = [event.event_id async for event in client.follow(run_id)]
    assert ids == list(range(1, 23))
    assert [r.after_event_id for r in daemon.requests("Events")] == [2, 4, 4, 9, 11, 12]


def test_an_ok_before_the_terminal_event_is_not_the_end(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.state.breaks.extend([(1, None), (0, None)])
    events = client.follow(run_id)
    assert next(events).event_id == 1
    finishing = threading.Timer(0.05, daemon.finish, [run_id])
    finishing.start()
    assert [e.event_type for e in events] == ["run.completed"]
    finishing.join()


def test_follow_survives_a_restart_of_the_daemon(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    events = client.follow(run_id)
    assert next(events).event_id == 1
    daemon.stop()

    def come_back() -> None:
        daemon.start()
        daemon.emit_logs(run_id, ["after the restart\n"])
        daemon.finish(run_id)

    returning = threading.Timer(0.3, come_back)
    returning.start()
    assert [e.event_type for e in events] == ["log", "run.completed"]
    returning.join()


def test_follow_is_live(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    events = client.follow(run_id)
    assert next(events).event_type == "run.created"
    daemon.emit(run_id, "my.event", {"n": 2**70})
    assert next(events).payload == {"n": 2**70}
    daemon.finish(run_id, run_pb2.RUN_STATUS_FAILED)
    assert [e.event_type for e in events] == ["run.failed"]


def test_follow_after_the_last_event_ends_at_once(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = a_long_run(daemon, logs=1)
    assert list(client.follow(run_id, after_event_id=3)) == []
    assert list(client.follow(run_id, after_event_id=99)) == []


def test_follow_raises_what_no_reconnect_helps(daemon: FakeDaemon, client: RunsClient) -> None:
    with pytest.raises(NotFoundError, match="no run 'nowhere'") as caught:
        next(client.follow("nowhere"))
    assert caught.value.reason == "RUN_NOT_FOUND"
    with pytest.raises(InvalidRequestError, match="after_event_id"):
        next(client.follow("run-1", after_event_id=2**63))
    assert len(daemon.requests("ListEvents")) == 1


def test_an_idle_follow_has_the_patience_of_one_that_was_connected(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    daemon.state.breaks.extend([(0, LOST)] * 10)
    policy = RetryPolicy(retries=0, initial_seconds=0.001, max_seconds=0.002)
    with RunsClient(daemon.address, retry=policy) as client:
        events = client.follow(run_id, after_event_id=1)
        finishing = threading.Timer(0.05, daemon.finish, [run_id])
        finishing.start()
        assert [e.event_id for e in events] == [2]
        finishing.join()


def test_a_gap_is_an_error_not_a_silence(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = a_long_run(daemon)
    del daemon.state.events[run_id][4]
    with pytest.raises(RunsError) as caught:
        list(client.follow(run_id))
    assert caught.value.reason == "EVENTS_MISSING"


def test_follow_gives_up_only_before_the_first_contact(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    daemon.state.failures["ListEvents"].extend([LOST] * 3)
    policy = RetryPolicy(retries=2, initial_seconds=0.001)
    with RunsClient(daemon.address, retry=policy) as client, pytest.raises(UnreachableError):
        next(client.follow(run_id))
    assert len(daemon.requests("ListEvents")) == 3


def test_follow_gives_up_after_the_time_of_the_policy(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    policy = RetryPolicy(initial_seconds=0.001, max_seconds=0.002, reconnect_for_seconds=0.01)
    told: list[float] = []
    daemon.state.breaks.extend([(0, LOST)] * 50)
    with RunsClient(daemon.address, retry=policy, on_retry=lambda _, delay: told.append(delay)) as client:
        events = client.follow(run_id)
        assert next(events).event_id == 1
        with pytest.raises(UnreachableError):
            next(events)
    assert 5 <= len(told) < 50


def test_an_overloaded_daemon_is_asked_again(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = a_long_run(daemon, logs=2)
    overloaded = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow subscriber", "SLOW_SUBSCRIBER")
    daemon.state.breaks.append((1, overloaded))
    assert len(list(client.follow(run_id))) == 4


def test_replay_ends_with_what_there_is(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.emit_logs(run_id, ["a", "b"])
    daemon.state.breaks.append((2, LOST))
    assert [e.event_id for e in client.replay(run_id)] == [1, 2, 3]


@pytest.mark.parametrize("repeats", [False, True])
def test_watch_goes_on_from_its_position(daemon: FakeDaemon, client: RunsClient, repeats: bool) -> None:
    a_long_run(daemon)
    daemon.state.repeats = repeats
    daemon.state.breaks.extend([(3, LOST), (4, None), (0, CANCELLED), (1, STOPPING)])
    watched = client.watch(after_position=0)
    seen = [next(watched) for _ in range(22)]
    watched.close()
    assert [w.position for w in seen] == [3 * n for n in range(1, 23)]
    assert [w.event.event_id for w in seen] == list(range(1, 23))
    assert [r.after_position for r in daemon.requests("WatchEvents")] == [0, 9, 21, 21, 24]


def test_watch_from_now_keeps_its_place_without_events(daemon: FakeDaemon, client: RunsClient) -> None:
    run_id = daemon.add_run()
    daemon.state.breaks.append((0, LOST))
    connected_again = threading.Event()

    def tell() -> None:
        while len(daemon.requests("WatchEvents")) < 2:
            connected_again.wait(0.005)
        daemon.emit(run_id, "my.event", {})

    telling = threading.Thread(target=tell)
    telling.start()
    with contextlib.closing(client.watch()) as watched:
        assert next(watched).event.event_type == "my.event"
    telling.join()
    assert [r.HasField("after_position") for r in daemon.requests("WatchEvents")] == [False, True]


async def test_async_watch_filters(daemon: FakeDaemon, async_client: AsyncRunsClient) -> None:
    daemon.add_run("task:other")
    daemon.add_run("task:mine")
    async with (
        async_client as client,
        contextlib.aclosing(
            client.watch(after_position=0, event_types=["run.*"], targets=["task:mine"], project="p")
        ) as watched,
    ):
        first = await anext(watched)
    assert (first.target, first.run_id) == ("task:mine", "run-2")
    [request] = daemon.requests("WatchEvents")
    assert (request.project, list(request.event_types)) == ("p", ["run.*"])


def test_closing_the_client_ends_its_streams(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    client = RunsClient(daemon.address)
    events = client.follow(run_id)
    next(events)
    closing = threading.Timer(0.05, client.close)
    closing.start()
    with pytest.raises(RunsError) as caught:
        next(events)
    assert caught.value.reason == "CLIENT_CLOSED"
    with pytest.raises(RunsError, match="closed"):
        client.get(run_id)
    closing.join()
