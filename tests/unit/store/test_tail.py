"""Channels: a reader sees everything past its cursor once, whatever was dropped meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.errors import Stopping
from runsd.model.events import Committed, Event
from runsd.store.journal import Commit
from runsd.store.tail import CHANNEL_EVENTS, Tail


def committed(event_id: int, run_id: str = "r", size: int = 2) -> Committed:
    return Committed(event_id, run_id, "p", "task:t", Event(event_id, "x", "x" * size, 0))


@given(st.lists(st.integers(1, 3000), max_size=12), st.data())
def test_channel_gives_all_past_the_cursor_or_says_that_it_cannot(batches: list[int], data: st.DataObject) -> None:
    tail = Tail(0)
    first = data.draw(st.integers(1, 5))
    following = first
    with tail.run("r") as channel:
        for count in batches:
            tail.publish(Commit([committed(n) for n in range(following, following + count)], [], [], []))
            following += count
            cursor = data.draw(st.integers(0, following))
            found = channel.after(cursor)
            if found is not None:
                assert [c.event.event_id for c in found] == list(range(max(cursor + 1, first), following))
                assert cursor >= first - 1
            else:
                assert cursor < first - 1 or following - cursor > CHANNEL_EVENTS // 2


def test_channel_is_bounded() -> None:
    tail = Tail(0)
    with tail.run("r") as channel:
        for n in range(1, 200):
            tail.publish(Commit([committed(n, size=1 << 20)], [], [], []))
        assert channel.after(0) is None
        assert len(channel.after(195) or []) == 4
        kept = channel.after(198 - 4)
        assert kept is None or len(kept) <= 5


async def test_readers_are_woken_and_channels_freed() -> None:
    tail = Tail(0)
    with tail.run("r") as channel, tail.run("r") as same:
        assert channel is same
        waiting = asyncio.create_task(channel.wait(0))
        await asyncio.sleep(0)
        tail.publish(Commit([committed(1, "other")], [], [], []))
        await asyncio.sleep(0)
        assert not waiting.done()
        tail.publish(Commit([committed(1)], [], [], []))
        await waiting
    with tail.run("r") as fresh:
        assert fresh is not channel


async def test_closing_ends_all_following() -> None:
    tail = Tail(0)
    with tail.project("p") as channel:
        waiting = asyncio.create_task(channel.wait(0))
        await asyncio.sleep(0)
        tail.close()
        with pytest.raises(Stopping):
            await waiting
        with pytest.raises(Stopping):
            channel.after(0)
    with pytest.raises(Stopping), tail.run("r"):
        pass


def ends(event_id: int, run_id: str) -> Committed:
    return Committed(event_id, run_id, "p", "task:t", Event(event_id, "run.completed", "{}", 0))


async def test_ends_of_a_set_are_told_once_and_of_no_other() -> None:
    tail = Tail(0)
    with tail.ends_of(["a", "b"]) as both, tail.ends_of(["b"]) as one:
        tail.publish(Commit([committed(1, "a"), ends(2, "b"), ends(1, "c"), ends(2, "a")], [], [], []))
        assert (await both.next(), await one.next()) == (["b", "a"], ["b"])
        waiting = asyncio.create_task(both.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        tail.close()
        with pytest.raises(Stopping):
            await waiting
    with pytest.raises(Stopping), tail.ends_of(["a"]):
        pass


def test_nothing_is_kept_of_ends_that_nobody_waits_for() -> None:
    tail = Tail(0)
    awaited = {"a": 1, "b": 2}
    with tail.ends_of(awaited):
        tail.publish(Commit([ends(1, "a")], [], [], []))
        del awaited["a"]
    assert not tail._ends
