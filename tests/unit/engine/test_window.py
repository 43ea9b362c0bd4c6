"""The window on the queue, against a plain model of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runsd.engine.admission import Admission
from runsd.engine.places import Places
from runsd.engine.window import WINDOW, Window
from runsd.store.queue import Queued, lane

LIMITS = {"task:a": 0, "task:b": 1, "task:c": 2}
MAX_RUNNING = 4


@dataclass
class Model:
    pending: list[Queued] = field(default_factory=list)
    running: list[Queued] = field(default_factory=list)

    def may_start(self, queued: Queued) -> bool:
        of_target = sum(other.target == queued.target for other in self.running)
        key_busy = any(other.concurrency_key == queued.concurrency_key for other in self.running)
        limit = LIMITS[queued.target]
        return not (limit and of_target >= limit) and not (queued.concurrency_key and key_busy)

    def next(self) -> Queued | None:
        if len(self.running) >= MAX_RUNNING:
            return None
        return next((queued for queued in sorted(self.pending) if self.may_start(queued)), None)


class WindowMachine(RuleBasedStateMachine):
    """Whatever happens, the window starts just the run that a look at all of them would."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.places = Places(MAX_RUNNING, lambda project, target: LIMITS[target])
        self.window = Window(self.places)
        self.number = 0

    def fill(self) -> None:
        limit = 3
        self.window.begin_filling()
        found = [
            queued
            for queued in sorted(self.model.pending)
            if lane("p", queued.target) not in self.window.full_targets
            and lane("p", queued.concurrency_key) not in self.window.busy_keys
        ]
        self.window.fill(found[:limit], limit)

    @rule(
        rank=st.integers(-2, 2),
        name=st.sampled_from(sorted(LIMITS)),
        key=st.sampled_from(["", "", "k", "l"]),
        count=st.sampled_from([1, 1, 1, WINDOW + 5]),
    )
    def add(self, rank: int, name: str, key: str, count: int) -> None:
        for _ in range(count):
            self.number += 1
            queued = Queued(rank, self.number, f"run-{self.number}", "p", name, key)
            self.model.pending.append(queued)
            self.window.offer(queued)

    @precondition(lambda self: self.window.is_empty)
    @rule(created=st.lists(st.tuples(st.integers(-2, 2), st.sampled_from(sorted(LIMITS)), st.sampled_from("kl "))))
    def create_together(self, created: list[tuple[int, str, str]]) -> None:
        """Some are admitted as they are created; the others are offered."""
        admission = Admission(self.places, self.window)
        new = []
        for rank, name, key in created:
            self.number += 1
            new.append(Queued(rank, self.number, f"run-{self.number}", "p", name, key.strip()))
        admitted = admission.pick(new)
        self.model.pending.extend(new)
        for queued in admitted:
            assert queued == self.model.next()
            self.model.pending.remove(queued)
            self.model.running.append(queued)
            self.places.take(queued)
        assert not any(self.model.next() == queued for queued in new), "as many as may"
        for queued in set(new) - set(admitted):
            self.window.offer(queued)

    @precondition(lambda self: self.model.pending)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        queued = data.draw(st.sampled_from(self.model.pending[:20]))
        self.model.pending.remove(queued)
        self.window.withdraw(queued.run_id)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        queued = data.draw(st.sampled_from(self.model.running))
        self.model.running.remove(queued)
        self.places.give_back(queued)
        self.window.reopen([queued])

    @rule()
    def start(self) -> None:
        expected = self.model.next()
        taken = self.window.take()
        while taken is None and self.places.free and self.window.wants_filling:
            self.fill()
            taken = self.window.take()
        assert taken == expected
        if taken is not None:
            self.model.pending.remove(taken)
            self.model.running.append(taken)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.window._queued) <= WINDOW


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=200, stateful_step_count=40)
