"""What becomes of occurrences while no daemon is there, or the clock is set past them or back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, PreconditionError

from tests.integration.daemon import Daemon
from tests.integration.test_schedules import made_by
from tests.integration.wall_clock import environment, install

MakeDaemon = Callable[..., Daemon]
HOUR = 3600
EVERY = timedelta(minutes=10)
# Of the six occurrences of the hour that is missed, the last is five minutes old when the daemon is back.
ANCHORED = timedelta(minutes=5)


@pytest.fixture
def daemon(make_daemon: MakeDaemon, tmp_path: Path) -> Daemon:
    install(tmp_path)
    daemon = make_daemon(env=environment(tmp_path, ahead=0))
    daemon.start()
    return daemon


def back_an_hour_later(daemon: Daemon, tmp_path: Path, hours: int = 1) -> None:
    daemon.kill()
    daemon.set_env(environment(tmp_path, ahead=hours * HOUR))
    daemon.start()


async def missed(client: AsyncRunsClient, **options: Any) -> datetime:
    """Creates a schedule; gives the first of its occurrences. What makes a run of another tells when it is decided."""
    anchor = datetime.now(UTC) + ANCHORED
    await client.schedules.create("missed", "task:quick", every=EVERY, anchor=anchor, **options)
    await client.schedules.create("witness", "task:quick", every=EVERY, anchor=anchor)
    return anchor


async def made(client: AsyncRunsClient, first: datetime) -> list[int]:
    """Which occurrences have runs, the first being 0."""
    runs = [run async for run in client.list_all(schedule_id="missed")]
    moments = [run.scheduled_for for run in reversed(runs) if run.scheduled_for is not None]
    return [round((moment - first) / EVERY) for moment in moments]


@pytest.mark.parametrize(
    ("options", "expected", "skipped", "reason"),
    [
        ({"catch_up": "none"}, [], 6, "missed, and catch_up is none"),
        ({"catch_up": "latest"}, [5], 5, "missed, and catch_up is latest"),
        ({"catch_up": "all"}, [0, 1, 2, 3, 4, 5], 0, ""),
        ({"catch_up": "all", "catch_up_window": "30m"}, [3, 4, 5], 3, "missed, and older than catch_up_window"),
        ({"catch_up": "latest", "catch_up_window": "1m"}, [], 6, "missed, and catch_up is latest"),
        ({"catch_up": "all", "max_runs": 2}, [0, 1], 0, ""),
    ],
)
async def test_missed_while_the_daemon_was_down(
    daemon: Daemon, tmp_path: Path, options: dict[str, Any], expected: list[int], skipped: int, reason: str
) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        first = await missed(client, **options)
        back_an_hour_later(daemon, tmp_path)
        await made_by(client, "witness", 1)
        schedule = await client.schedules.get("missed")
        assert await made(client, first) == expected
        assert schedule.skipped == skipped
        assert [skip.reason for skip in schedule.skips] == ([reason] if reason else [])
        if skipped:
            assert schedule.skips[0].first_at == first and schedule.skips[0].count == skipped
        upcoming = [occurrence.at for occurrence in schedule.next[:1]]
        assert upcoming == ([] if "max_runs" in options else [first + 6 * EVERY])


async def test_clock_set_back_makes_none_twice_and_misses_none(daemon: Daemon, tmp_path: Path) -> None:
    async with AsyncRunsClient(daemon.address) as client:
        first = await missed(client, catch_up="latest")
        back_an_hour_later(daemon, tmp_path)
        await made_by(client, "missed", 1)
        back_an_hour_later(daemon, tmp_path, hours=0)
        schedule = await client.schedules.get("missed")
        assert schedule.next[0].at == first, "what was skipped by a wrong clock comes in its time"
        await client.schedules.update("missed", catch_up="all")
        back_an_hour_later(daemon, tmp_path)
        await made_by(client, "missed", 6)
        assert sorted(await made(client, first)) == [0, 1, 2, 3, 4, 5], "the one that was made is not made again"


async def test_one_that_cannot_be_planned_holds_up_no_other(daemon: Daemon) -> None:
    """The machine has been given other zones since, say."""
    async with AsyncRunsClient(daemon.address) as client:
        await client.schedules.create("lost", "task:quick", cron="* * * * *", timezone="Europe/Stockholm")
        daemon.stop()
        with closing(sqlite3.connect(daemon.state / "runsd.db")) as database, database:
            database.execute("UPDATE schedules SET next_at = 1, spec_json = replace(spec_json, 'Stockholm', 'Nowhere')")
        daemon.start()
        await client.schedules.create("well", "task:quick", every=1)
        await made_by(client, "well", 2)
        await check_lost(client)
    assert daemon.said("schedule cannot be planned")
    assert not daemon.said("request failed inside runsd")
    assert daemon.stop() == 0


async def check_lost(client: AsyncRunsClient) -> None:
    """It is shown, and says what is wrong; what needs its zone is refused, what does not is done."""
    listed = {schedule.schedule_id: schedule for schedule in (await client.schedules.list()).data}
    for lost in (listed["lost"], await client.schedules.get("lost")):
        assert (lost.next, [problem.key for problem in lost.problems]) == ((), ["timezone"])
        assert "'Europe/Nowhere' is not known on this machine" in lost.problems[0].message
    assert not listed["well"].problems
    with pytest.raises(PreconditionError, match="not known on this machine"):
        await client.schedules.preview(schedule_id="lost")
    with pytest.raises(PreconditionError, match="not known on this machine"):
        await client.schedules.backfill("lost", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert (await client.schedules.pause("lost")).paused
    with pytest.raises(PreconditionError, match="not known on this machine"):
        await client.schedules.resume("lost")
    assert (await client.schedules.trigger("lost")).run.schedule_id == "lost"
    mended = await client.schedules.update("lost", timezone="Europe/Stockholm")
    assert mended.problems == () and (await client.schedules.resume("lost")).next
