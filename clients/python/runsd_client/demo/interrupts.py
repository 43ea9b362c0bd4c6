"""Ctrl-C, SIGTERM and SIGHUP as KeyboardInterrupt, and never in the middle of a clean-up.

Only for the main thread, where Python's signals are.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    with _handled_by(signal.default_int_handler):
        yield


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Signals are noted, and interrupt when the block has ended; it must be one that ends by itself."""
    noted: list[int] = []
    with _handled_by(lambda number, frame: noted.append(number)):
        yield
    if noted:
        raise KeyboardInterrupt


@contextmanager
def _handled_by(handler: Callable[..., object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
