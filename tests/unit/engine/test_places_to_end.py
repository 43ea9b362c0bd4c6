"""Places beyond the limits: bounded, and still enough where those that hold them wait for others."""

from __future__ import annotations

from runsd.engine.places import FREE_TO_END, NONE_AT_ALL, TO_END, TO_END_SECONDS, Places, PlacesToEnd
from runsd.model.times import MICROSECONDS
from runsd.store.queue import Queued

WHILE = round(TO_END_SECONDS * MICROSECONDS)


def run(number: int, target: str = "workflow:w", key: str = "") -> Queued:
    return Queued(0, number, f"run-{number}", "p", target, key)


def full(at: int) -> tuple[Places, PlacesToEnd]:
    places = Places(1, lambda project, target: NONE_AT_ALL if target == "workflow:none" else 1)
    to_end = PlacesToEnd(places)
    assert to_end.free(at) == TO_END
    assert all(to_end.takes(run(number), at) for number in range(TO_END))
    return places, to_end


def test_so_many_end_at_a_time_and_more_once_some_have_ended() -> None:
    places, to_end = full(at=1)
    assert to_end.free(2) == 0
    assert places.free == 0, "they count for the limits, though they do not wait for them"
    for number in range(FREE_TO_END):
        assert to_end.free(2) == 0, "not worth a look yet"
        to_end.give_back(run(number), 2)
    assert to_end.free(2) == FREE_TO_END
    to_end.give_back(run(TO_END + 1), 2)
    assert to_end.free(2) == FREE_TO_END, "one that ended, and held none of these"


def test_those_of_which_none_ends_for_a_while_count_no_more() -> None:
    _, to_end = full(at=1)
    assert to_end.free_at == 1 + WHILE
    to_end.give_back(run(0), 5)
    assert to_end.free_at == 5 + WHILE, "one did"
    assert to_end.free(5 + WHILE - 1) == 0
    assert to_end.free(5 + WHILE) == TO_END
    assert to_end.takes(run(TO_END), 5 + WHILE)
    to_end.give_back(run(1), 6 + WHILE)
    assert to_end.free(6 + WHILE) == TO_END - 1


def test_a_busy_key_and_a_target_that_cannot_be_run_are_waited_for() -> None:
    places = Places(1, lambda project, target: NONE_AT_ALL if target == "workflow:none" else 1)
    to_end = PlacesToEnd(places)
    assert not to_end.takes(run(1, "workflow:none"), 1)
    assert to_end.takes(run(2, key="k"), 1)
    assert not to_end.takes(run(3, key="k"), 1)
    places.give_back(run(2, key="k"))
    to_end.give_back(run(2, key="k"), 2)
    assert to_end.takes(run(3, key="k"), 2)
