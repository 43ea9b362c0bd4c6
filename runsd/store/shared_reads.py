"""Short reads of runs, done together for all that ask at about the same time.

A read after a commit finds SQLite's cache of pages empty, and waits for its turn in Python: for a short record
that is nearly all it costs. So whoever asks while others' records are being read has its own read with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from runsd.model.errors import NotFound

T = TypeVar("T")

MOST_RUNS = 64
# What decoding a record raises that is not as it was written.
UNREADABLE = (ValueError, TypeError, LookupError)

# Of the first of these runs, at least one; None: there is no such run.
Read = Callable[[Sequence[str]], Coroutine[Any, Any, list[T | None]]]


@dataclass(eq=False, slots=True)
class _Asker(Generic[T]):
    """`turn` is done when it is answered, or is to read for all that ask."""

    run_id: str
    turn: asyncio.Future[None]
    is_answered: bool = False
    found: T | None = None

    def answer(self, found: T | None) -> None:
        self.found, self.is_answered = found, True
        self.wake()

    def wake(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


class SharedReads(Generic[T]):
    """As long as anybody asks, one of them reads, for as many as there are by then."""

    def __init__(self, read: Read[T]) -> None:
        self._read = read
        self._askers: dict[_Asker[T], None] = {}
        self._reader: _Asker[T] | None = None

    async def of(self, run_id: str) -> T:
        """Raises NotFound, and what the read raises."""
        asker: _Asker[T] = _Asker(run_id, asyncio.get_running_loop().create_future())
        self._askers[asker] = None
        try:
            self._give_turn()
            await asker.turn
            if not asker.is_answered:
                await self._read_some()
        finally:
            self._askers.pop(asker, None)
            if self._reader is asker:
                self._reader = None
                self._give_turn()
        if asker.found is None:
            raise NotFound("run", run_id)
        return asker.found

    def _give_turn(self) -> None:
        """To the one who has asked longest, if nobody has it. One that is cancelled meanwhile gives it on."""
        if self._reader is None and self._askers:
            self._reader = next(iter(self._askers))
            self._reader.wake()

    async def _read_some(self) -> None:
        # For those, too, who ask in the same turn of the event loop.
        await asyncio.sleep(0)
        askers = list(islice(self._askers, MOST_RUNS))
        for asker, found in zip(askers, await self._read_first(askers), strict=False):
            self._askers.pop(asker, None)
            asker.answer(found)

    async def _read_first(self, askers: Sequence[_Asker[T]]) -> list[T | None]:
        try:
            return await self._read([asker.run_id for asker in askers])
        except UNREADABLE:
            # Perhaps another's: the reader's own comes by itself.
            return await self._read([askers[0].run_id])
