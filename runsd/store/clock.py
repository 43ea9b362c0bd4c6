"""The time that waits are measured by: it goes on evenly, whatever is done to the wall clock.

Anchored to the wall clock when the daemon starts, so that its moments can be stored and mean the same
after a restart; counts while the machine sleeps. Events are stamped with the wall clock.
"""

from __future__ import annotations

import time


def _since_boot() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


_ANCHOR = time.time_ns() - _since_boot()


def steady_now() -> int:
    """Microseconds."""
    return (_ANCHOR + _since_boot()) // 1000


def wall_now() -> int:
    """Microseconds."""
    return time.time_ns() // 1000
