"""Named places at which a test can end the daemon as a crash would: at once, with nothing cleaned up.

`RUNSD_CRASH_AT=outcome.committed` ends it when it first comes there, `…:3` the third time. Tests go
through all of them, so that recovery is proved by enumeration rather than by luck.
"""

from __future__ import annotations

import os
from enum import StrEnum

VARIABLE = "RUNSD_CRASH_AT"
EXIT_STATUS = 86


class CrashPoint(StrEnum):
    """In the order in which a run comes past them."""

    BATCH_WRITTEN = "batch.written"
    BATCH_COMMITTED = "batch.committed"
    CLAIM_COMMITTED = "claim.committed"
    ATTEMPT_PREPARED = "attempt.prepared"
    PROCESS_SPAWNED = "process.spawned"
    OUTPUT_READ = "output.read"
    OUTPUT_COMMITTED = "output.committed"
    PROCESS_ENDED = "process.ended"
    ARTIFACTS_COLLECTED = "artifacts.collected"
    OUTCOME_STAGED = "outcome.staged"
    OUTCOME_COMMITTED = "outcome.committed"
    ATTEMPT_CLEARED = "attempt.cleared"


_point, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count or 1)


def passing(point: CrashPoint) -> None:
    global _left
    if point == _point:
        _left -= 1
        if _left == 0:
            os._exit(EXIT_STATUS)
