"""What the load asks for, from a seed: the runs, and what is done to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import Any

PROCESS = "task:process"
COROUTINE = "task:coroutine"
COROUTINE_ONCE = "task:coroutine-once"
THREAD = "task:thread"
_TARGETS = ((PROCESS, 6), (COROUTINE, 3), (COROUTINE_ONCE, 1), (THREAD, 1))


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
class Wish:
    """A run to create and what is done to it; seconds are None where it is not done."""

    key: str
    target: str
    spec: Spec
    backoff_limit: int
    sent_at_once: int
    sent_again: bool
    followed_raw: bool
    followed_by_client: bool
    cancel_after_seconds: float | None
    retried: bool


def wish(random: Random, key: str) -> Wish:
    target = random.choices([name for name, _ in _TARGETS], [weight for _, weight in _TARGETS])[0]
    backoff_limit = random.choice((0, 0, 1, 2))
    is_long = random.random() < 0.2
    spec = Spec(
        lines=random.randrange(20, 60) if is_long else random.randrange(0, 25),
        pace_ms=random.choice((0, 1, 10, 40, 80)),
        salt=random.randrange(1_000_000),
        status=random.choice((0, 0, 0, 0, 1, 3, 42)),
        fails=random.choice((0, 0, 0, 1, 2)),
        stubborn=random.random() < 0.1,
    )
    return Wish(
        key,
        target,
        spec,
        backoff_limit,
        sent_at_once=random.choice((1, 1, 1, 3)),
        sent_again=random.random() < 0.2,
        followed_raw=random.random() < 0.4,
        followed_by_client=random.random() < 0.4,
        cancel_after_seconds=random.uniform(0, 2) if random.random() < 0.15 else None,
        retried=random.random() < 0.3,
    )
