"""Waits for a moment of the wall clock, and notices when somebody sets it or the machine wakes from sleep.

The event loop's own timers measure time that passes; they would fire early or late by as much as the clock was set.
The kernel's do not, and tell of a clock that was set (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
import time
from types import TracebackType
from typing import Self

from runsd.model.times import MICROSECONDS
from runsd.store.clock import wall_now

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
# A timer that is not armed does not tell of a clock that was set.
_FAR_AWAY = 4102444800 * MICROSECONDS

_libc = ctypes.CDLL(None, use_errno=True)


class WallTimer:
    """Python has timerfd since 3.13; until then it is called in the C library."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor = _checked(_libc.timerfd_create(time.CLOCK_REALTIME, _NONBLOCK | _CLOEXEC))
        self._ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        self._clock_was_set = False
        self._arm(_FAR_AWAY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def wake(self) -> None:
        """Ends the wait that is going on, or the next one."""
        self._ready.set()

    async def until(self, moment: int | None) -> bool:
        """Returns when the clock shows `moment` or `wake` was called; true if the clock was set meanwhile."""
        if moment is not None and moment <= wall_now():
            await asyncio.sleep(0)
        else:
            self._arm(_FAR_AWAY if moment is None else min(moment, _FAR_AWAY))
            await self._ready.wait()
        self._ready.clear()
        was_set, self._clock_was_set = self._clock_was_set, False
        return was_set

    def _arm(self, moment: int) -> None:
        """Arming forgets a clock that was set before; it is read first."""
        self._read()
        seconds, rest = divmod(moment, MICROSECONDS)
        when = struct.pack("=4q", 0, 0, seconds, rest * 1000)
        try:
            _checked(_libc.timerfd_settime(self._descriptor, _ABSOLUTE | _CANCEL_ON_SET, when, None))
        except OSError as error:
            self._check_clock_was_set(error)

    def _read(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        except OSError as error:
            self._check_clock_was_set(error)
        self._ready.set()

    def _check_clock_was_set(self, error: OSError) -> None:
        """Both arming and reading may tell of it; the timer is armed all the same. Raises any other error."""
        if error.errno != errno.ECANCELED:
            raise error
        self._clock_was_set = True
        self._ready.set()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
