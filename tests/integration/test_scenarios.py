"""The scenarios that every client must pass, with the async and the sync Python client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, RetryPolicy, RunsClient

from tests.integration.daemon import PATIENCE_SECONDS, Daemon
from tests.integration.scenario_calls import CALLS, STREAMS, SyncClientInThreads
from tests.integration.scenario_matching import mismatch
from tests.integration.scenario_playing import SCENARIOS, Player, Scenario, scenarios, value_of

LISTED = scenarios()
PATIENT = RetryPolicy(retries=1000, initial_seconds=0.02, max_seconds=0.2)
IMPATIENT = RetryPolicy(retries=0)


@pytest.fixture(scope="module", params=[AsyncRunsClient, RunsClient])
def kind(request: pytest.FixtureRequest) -> type[AsyncRunsClient | RunsClient]:
    kind: type[AsyncRunsClient | RunsClient] = request.param
    return kind


@pytest.fixture(scope="module")
def stage(kind: type[AsyncRunsClient | RunsClient], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all scenarios of a client."""
    settings = (SCENARIOS / "runsd.toml").read_text()
    daemon = Daemon(tmp_path_factory.mktemp("stage"), project=SCENARIOS / "project", settings=settings)
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
async def player(kind: type[AsyncRunsClient | RunsClient], stage: Daemon, tmp_path: Path) -> AsyncIterator[Player]:
    if not stage.is_running:
        stage.start()
    if kind is AsyncRunsClient:
        async with (
            AsyncRunsClient(stage.address, retry=PATIENT) as client,
            AsyncRunsClient(stage.address, retry=IMPATIENT) as impatient,
        ):
            yield Player(client, impatient, stage, tmp_path)
    else:
        with RunsClient(stage.address, retry=PATIENT) as first, RunsClient(stage.address, retry=IMPATIENT) as second:
            yield Player(SyncClientInThreads(first), SyncClientInThreads(second), stage, tmp_path)


@pytest.mark.parametrize("scenario", [pytest.param(found, id=f"{file}: {found.name}") for file, found in LISTED])
async def test_scenario(player: Player, scenario: Scenario) -> None:
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        await player.play(scenario.steps)


def test_every_call_is_in_a_scenario() -> None:
    listed = json.dumps([scenario.steps for _, scenario in LISTED])
    assert [name for name in (*CALLS, *STREAMS) if f'"call": "{name}"' not in listed] == []


def test_expectations_are_read_as_agreed() -> None:
    cases = json.loads((SCENARIOS / "matching.json").read_text())
    assert cases
    for case in cases:
        expected, actual = (value_of(case[name], {}, Path()) for name in ("expected", "actual"))
        assert (mismatch(expected, actual) == "") is case["fits"], case
