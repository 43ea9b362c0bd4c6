"""The proof, small enough for every commit: nothing lost, nothing twice, nobody disturbed."""

from __future__ import annotations

from pathlib import Path

from tests.torture.harness import torture
from tests.torture.plan import PROCESS
from tests.torture.report import report

CYCLES = 25
SEED = 20260726


async def test_daemon_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    verdict = await torture(tmp_path, CYCLES, SEED)
    print(report(verdict))
    assert verdict.violations == []
    # That it was a torture: there was something to lose.
    assert verdict.kills.after_ready + verdict.kills.while_starting == CYCLES
    assert sum(run.target == PROCESS for run in verdict.disk.runs.values()) > 10
    assert verdict.judge.attempts["in-process interrupted"] > 0
    assert verdict.judge.bytes_compared > 10_000
    assert verdict.judge.attempts["workflow interrupted"] > 0
    assert verdict.kills.found_waiting > 0
    assert verdict.flows.counts["completed"] > 100
    assert verdict.flows.counts["begun again"] > 0
    assert verdict.schedules.counts["due where it is known"] > 100
    assert verdict.schedules.counts["occurrences"] > 100
    assert verdict.schedules.counts["skipped"] > 0
    assert sum(len(following.seen) for following in verdict.witness.followings) > 100
