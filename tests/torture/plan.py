"""What the load asks for, from a seed: the runs, and what is done to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import Any

PROCESS = "task:process"
COROUTINE = "task:coroutine"
COROUTINE_ONCE = "task:coroutine-once"
THREAD = "task:thread"
FLOW = "workflow:flow"
_TARGETS = ((PROCESS, 6), (COROUTINE, 3), (COROUTINE_ONCE, 1), (THREAD, 1), (FLOW, 4))


@dataclass(frozen=True, slots=True)
class Spec:
    """A run's input. The first `fails` attempts end with a failure, the others with `status`."""

    lines: int
    pace_ms: int
    salt: int
    status: int
    fails: int
    stubborn: bool

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Part:
    """A run below a workflow."""

    target: str
    input: Spec


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A workflow's input. `waits` is for a `signal`, an `approval` or a `timeout`, or empty.

    `race`: a run that is to lose one. `broken`: its last step fails it; `undo`: it has a compensation.
    """

    steps: int
    items: int
    pace_ms: int
    sleep_ms: int
    shaky: bool
    parts: tuple[Part, ...]
    race: Part | None
    waits: str
    broken: bool
    undo: bool

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "parts": [asdict(part) for part in self.parts]}


# Takes some five seconds, ends well, and at once when asked to.
_LOSER = Part(PROCESS, Spec(lines=60, pace_ms=80, salt=0, status=0, fails=0, stubborn=False))


@dataclass(frozen=True, slots=True)
class Wish:
    """A run to create and what is done to it; seconds are None where it is not done.

    `answered_after_seconds`: a workflow that waits for a signal or a decision gets it then.
    """

    key: str
    target: str
    spec: Spec | FlowSpec
    backoff_limit: int
    sent_at_once: int
    sent_again: bool
    followed_raw: bool
    followed_by_client: bool
    cancel_after_seconds: float | None
    retried: bool
    answered_after_seconds: float
    answered_twice: bool


def wish(random: Random, key: str) -> Wish:
    target = random.choices([name for name, _ in _TARGETS], [weight for _, weight in _TARGETS])[0]
    backoff_limit = random.choice((0, 0, 1, 2))
    spec = _flow(random) if target == FLOW else _spec(random)
    return Wish(
        key,
        target,
        spec,
        backoff_limit,
        sent_at_once=random.choice((1, 1, 1, 3)),
        sent_again=random.random() < 0.2,
        followed_raw=random.random() < 0.4,
        followed_by_client=random.random() < 0.4,
        cancel_after_seconds=random.uniform(0, 2) if random.random() < (0.3 if target == FLOW else 0.15) else None,
        retried=random.random() < (0.6 if target == FLOW else 0.3),
        answered_after_seconds=random.uniform(0, 1.5),
        answered_twice=random.random() < 0.4,
    )


def _spec(random: Random) -> Spec:
    is_long = random.random() < 0.2
    return Spec(
        lines=random.randrange(20, 60) if is_long else random.randrange(0, 25),
        pace_ms=random.choice((0, 1, 10, 40, 80)),
        salt=random.randrange(1_000_000),
        status=random.choice((0, 0, 0, 0, 1, 3, 42)),
        fails=random.choice((0, 0, 0, 1, 2)),
        stubborn=random.random() < 0.1,
    )


def _flow(random: Random) -> FlowSpec:
    parts = tuple(Part(random.choice((PROCESS, COROUTINE)), _spec(random)) for _ in range(random.choice((0, 0, 1, 2))))
    return FlowSpec(
        steps=random.randrange(1, 12),
        items=random.choice((0, 2, 5)),
        pace_ms=random.choice((0, 1, 10, 40, 80)),
        sleep_ms=random.choice((0, 10, 100, 400, 1000)),
        shaky=random.random() < 0.3,
        parts=parts,
        race=_LOSER if random.random() < 0.25 else None,
        waits=random.choice(("", "signal", "signal", "approval", "approval", "timeout")),
        broken=random.random() < 0.3,
        undo=random.random() < 0.5,
    )
