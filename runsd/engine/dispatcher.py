"""Starts pending runs: priority, then age, within the limits.

One loop does it all, so that a run is never picked twice: it fails what has expired, fills the window
from the store, takes what may start, claims it in one transaction, and hands it on. It sleeps until a
run is added, a place becomes free, or a moment comes that some run waits for. While it sleeps and
nothing waits for a place, what is created is started in the same transaction; it wakes after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice

from runsd.crashpoints import CrashPoint, passing
from runsd.definitions.catalog import Catalog
from runsd.engine.admission import Admission
from runsd.engine.claiming import Claimed, Claims, expired_error
from runsd.engine.ending import fail_run
from runsd.engine.places import NONE_AT_ALL, TO_END, Places, PlacesToEnd
from runsd.engine.window import Window
from runsd.model.errors import NotPossible, RunsdError
from runsd.model.run import RunStatus
from runsd.model.times import MICROSECONDS
from runsd.store.clock import steady_now
from runsd.store.journal import Commit, Wanted
from runsd.store.queue import Queued, expired
from runsd.store.store import Store
from runsd.store.transaction import Transaction

EXPIRE_AT_ONCE = 500
OFFERED_AT_ONCE = 64
# The event loop's clock stands still while the machine sleeps; look at the time at least this often.
MAX_SLEEP_SECONDS = 60.0


class Dispatcher:
    def __init__(self, store: Store, catalog: Catalog, max_running: int, execute: Callable[[Claimed], None]) -> None:
        """`execute` gets each claimed run, and must see to it that `finished` is called after it."""
        self._store = store
        self._catalog = catalog
        self._claims = Claims(catalog)
        self._places = Places(max_running, self._limit_of)
        self._to_end = PlacesToEnd(self._places)
        self._window = Window(self._places)
        self._execute = execute
        self._wake = asyncio.Event()
        self._next_moment: int | None = 0
        self._is_paused = False
        # Runs that go on only to end: there may be some; there are some that cannot yet.
        self._may_end = True
        self._cannot_end_yet = False
        # While it is asleep no run is picked here, and new ones may be admitted as they are created.
        self._is_asleep = False
        self._admitting: asyncio.Future[list[Claimed]] | None = None
        # Places and window stay as they are while a commit admits: what would change them comes after it.
        self._finished_meanwhile: list[Queued] = []
        self._limits_changed_meanwhile = False
        store.journal.listen(self._on_commit)
        store.journal.conclude_with(self._admission)

    def finished(self, queued: Queued) -> None:
        """The run's attempt is over: its place is free."""
        if self._admitting is not None:
            self._finished_meanwhile.append(queued)
            return
        self._places.give_back(queued)
        self._to_end.give_back(queued, steady_now())
        self._window.reopen([queued])
        self._may_end = self._may_end or self._cannot_end_yet
        self._wake.set()

    def adopted(self, queued: Queued) -> None:
        """A run that executes since before the daemon's start takes its place, free or not."""
        self._places.take(queued)

    def limits_changed(self) -> None:
        if self._admitting is not None:
            self._limits_changed_meanwhile = True
            return
        self._window.forget_lanes()
        self._may_end = True
        self._wake.set()

    def pause(self) -> None:
        """Starts no more runs; what is being started is."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                await self._attend_moments()
                await self._end_what_must()
                if not self._is_paused:
                    await self._start_what_may()
                await self._sleep()
                await self._admitted()
        finally:
            if self._admitting is not None:
                # On disk these have started, and after the daemon's next start they are taken up.
                self._admitting.remove_done_callback(self._execute_admitted)

    def _limit_of(self, project: str, target: str) -> int:
        """Runs of a broken definition wait until it is mended; those of none at all are let through to fail."""
        try:
            return self._catalog.definition(project, target).max_concurrent
        except NotPossible:
            return NONE_AT_ALL
        except RunsdError:
            return 0

    def _on_commit(self, commit: Commit) -> None:
        now = steady_now()
        for stored in commit.runs:
            run = stored.run
            self._may_end = self._may_end or (run.cancel_requested and run.status is RunStatus.PENDING)
            if run.status is RunStatus.WAITING and run.start_after is not None:
                self._expect(run.start_after)
                self._wake.set()
            if run.status is not RunStatus.PENDING:
                if run.status is not RunStatus.WAITING:
                    self._window.withdraw(run.run_id)
                continue
            if run.expires_after is not None:
                self._expect(run.expires_after)
            if run.start_after is not None and run.start_after > now:
                self._expect(run.start_after)
            else:
                self._window.offer(Queued.of(stored))
            self._wake.set()
        for stored in commit.woken:
            self._may_end = self._may_end or stored.run.cancel_requested
            self._window.offer(Queued.of(stored))
            self._wake.set()

    def _expect(self, moment: int) -> None:
        if self._next_moment is None or moment < self._next_moment:
            self._next_moment = moment

    async def _attend_moments(self) -> None:
        now = steady_now()
        if self._next_moment is None or now < self._next_moment:
            return
        since, self._next_moment = self._next_moment, None
        while await self._store.journal.insist(_expire_some) == EXPIRE_AT_ONCE:
            pass
        await self._offer_what_became_startable(since, now)
        self._may_end = True
        moment = await self._store.queries.next_moment(now)
        if moment is not None:
            self._expect(moment)

    async def _offer_what_became_startable(self, since: int, now: int) -> None:
        """Few, as a rule: for them the window need not be read again."""
        found = await self._store.queries.became_startable(since, now, OFFERED_AT_ONCE, self._project_ids())
        if len(found) >= OFFERED_AT_ONCE:
            self._window.look_again()
            return
        for queued in found:
            self._window.offer(queued)

    async def _end_what_must(self) -> None:
        """A run that was asked to end waits for no place of the limits, nor for the end of a pause."""
        while self._may_end:
            now = steady_now()
            free = self._to_end.free(now)
            if not free:
                self._expect(self._to_end.free_at)
                return
            self._may_end = False
            found = await self._store.queries.ending(now, TO_END, self._project_ids())
            able = (queued for queued in found if self._to_end.takes(queued, now))
            picked = list(islice(able, free))
            self._cannot_end_yet = len(picked) < len(found)
            if picked:
                await self._claim(picked)
            self._may_end = self._may_end or (bool(picked) and len(found) >= free)

    def _project_ids(self) -> list[str]:
        return [project.id for project in self._catalog.projects]

    async def _start_what_may(self) -> None:
        while self._places.free and not self._is_paused:
            if self._window.wants_filling:
                await self._fill()
            picked = self._pick()
            if picked:
                await self._claim(picked)
            elif not self._window.wants_filling:
                return

    async def _fill(self) -> None:
        limit = self._window.room(self._places.free)
        self._window.begin_filling()
        found = await self._store.queries.startable(
            steady_now(),
            limit,
            self._project_ids(),
            list(self._window.full_targets),
            list(self._window.busy_keys),
        )
        self._window.fill(found, limit)

    def _pick(self) -> list[Queued]:
        picked = []
        while (queued := self._window.take()) is not None:
            picked.append(queued)
        return picked

    async def _claim(self, picked: list[Queued]) -> None:
        claims = await self._store.journal.insist(lambda t: self._claims.claim_all(t, picked))
        passing(CrashPoint.CLAIM_COMMITTED)
        for queued, claimed in zip(picked, claims, strict=True):
            if claimed is None:
                self.finished(queued)
            else:
                self._execute(claimed)

    def _admission(self) -> Wanted | None:
        """Of the commit that begins now, if nothing else is to be started before what it may create."""
        if self._admitting is not None or not self._may_admit():
            return None
        self._admitting = asyncio.get_running_loop().create_future()
        self._admitting.add_done_callback(self._execute_admitted)
        admission = Admission(self._places, self._window)
        return partial(admission.claim, claims=self._claims), self._admitting

    def _may_admit(self) -> bool:
        is_idle = self._is_asleep and not self._is_paused and self._window.is_empty and self._places.free > 0
        return is_idle and (self._next_moment is None or self._next_moment > steady_now())

    def _execute_admitted(self, admitting: asyncio.Future[list[Claimed]]) -> None:
        if admitting.exception() is not None:
            self._wake.set()
            return
        self._admitting = None
        admitted = admitting.result()
        if admitted:
            passing(CrashPoint.CLAIM_COMMITTED)
        for claimed in admitted:
            self._places.take(claimed.queued)
            self._execute(claimed)
        self._catch_up()

    def _catch_up(self) -> None:
        finished, self._finished_meanwhile = self._finished_meanwhile, []
        for queued in finished:
            self.finished(queued)
        if self._limits_changed_meanwhile:
            self._limits_changed_meanwhile = False
            self.limits_changed()

    async def _admitted(self) -> None:
        """Returns when no commit admits runs. Raises what went wrong, but for a refused commit."""
        if self._admitting is None:
            return
        await asyncio.wait([self._admitting])
        failed, self._admitting = self._admitting, None
        if failed is not None:
            with suppress(RunsdError):
                failed.result()
        self._catch_up()

    async def _sleep(self) -> None:
        seconds = MAX_SLEEP_SECONDS
        if self._next_moment is not None:
            seconds = min(max((self._next_moment - steady_now()) / MICROSECONDS, 0), seconds)
        self._is_asleep = True
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._is_asleep = False


def _expire_some(transaction: Transaction) -> int:
    run_ids = expired(transaction, EXPIRE_AT_ONCE)
    for run_id in run_ids:
        stored = transaction.get(run_id)
        if stored.run.status is RunStatus.PENDING:
            fail_run(transaction, stored, expired_error())
    return len(run_ids)
