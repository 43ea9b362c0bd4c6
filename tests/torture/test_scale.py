"""At size: nothing lost, and memory bounded by what is live."""

from __future__ import annotations

from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.scale import SUBSCRIBERS, measure_scale


async def test_a_million_lines_to_200_subscribers_and_10_000_pending_runs(tmp_path: Path) -> None:
    figures = await measure_scale(tmp_path)
    intact, _, *following, _drained, _rate, queued_start, queued_most, queued_end = figures
    assert intact.value == SUBSCRIBERS
    # A page or two in each connection, and the channel; not the log.
    assert grown(*following[:2]) < 250
    assert grown(queued_start, queued_most) < 60
    assert grown(queued_start, queued_end) < 60


def grown(start: Figure, later: Figure) -> float:
    """In MiB."""
    return later.value - start.value
