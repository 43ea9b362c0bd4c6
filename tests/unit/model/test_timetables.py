"""Timetables of all kinds: their order, windows and end, and what is refused with which words."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.timetables import EARLIEST, LATEST, Cron, Every, InvalidTimetable, Occurrence, Once, Timetable
from runsd.model.timetables import timetable as make

SECOND = 1_000_000
MINUTE = 60 * SECOND

ZONES = st.sampled_from(
    ["UTC", "Europe/Stockholm", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca"]
)
CRONS = st.sampled_from(
    ["30 2 * * *", "5 1,2,3 * * *", "*/15 * * * *", "*/20 2 * * *", "30 2 29 2 *", "0 0 L * *", "0 9-17/2 * * 1"]
)
MOMENTS = st.integers(micros_2000 := 946_684_800 * SECOND, micros_2000 + 40 * 365 * 86400 * SECOND)
TIMETABLES = st.one_of(
    st.builds(Cron, CRONS, ZONES),
    st.builds(Once, MOMENTS),
    st.builds(Every, st.integers(SECOND, 10**13), MOMENTS),
)


@given(TIMETABLES, MOMENTS, st.integers(0, 8))
def test_occurrences_are_in_order_and_the_same_from_wherever_one_asks(
    when: Cron | Once | Every, moment: int, passed: int
) -> None:
    found = list(islice(Timetable(when).after(moment), 10))
    assert all(earlier.at < later.at for earlier, later in pairwise(found))
    assert all(one.at > moment and micros(one.local) == one.at for one in found)
    if passed < len(found):
        assert list(islice(Timetable(when).after(found[passed].at), 10 - passed - 1)) == found[passed + 1 :]


@given(TIMETABLES, MOMENTS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 9))
def test_a_window_has_what_is_from_its_start_until_before_its_end(
    when: Cron | Once | Every, moment: int, first: int, more: int, limit: int
) -> None:
    found = list(islice(Timetable(when).after(moment), 12))
    if first + more >= len(found):
        return
    start, end = found[first].at, found[first + more].at
    expected = found[first : first + more]
    assert list(Timetable(when, start_at=start, end_at=end).after(EARLIEST)) == expected
    assert Timetable(when).between(start, end, limit) == tuple(expected[:limit])
    assert Timetable(when, start_at=start).between(moment, end + 1, 100)[-1].at == end


@given(st.integers(1, 10**6), MOMENTS, MOMENTS)
def test_an_interval_is_real_time_from_its_anchor(seconds: int, anchor: int, moment: int) -> None:
    found = [one.at for one in islice(make(every=seconds, anchor=anchor).after(moment), 3)]
    assert moment < found[0] <= moment + seconds * SECOND
    assert all((at - anchor) % (seconds * SECOND) == 0 for at in found)
    assert {later - earlier for earlier, later in pairwise(found)} == {seconds * SECOND}


def test_what_is_due_once_is_due_once() -> None:
    timetable = make(at=7 * SECOND)
    assert list(timetable.after(7 * SECOND - 1)) == [Occurrence(7 * SECOND, "1970-01-01T00:00:07+00:00")]
    assert not list(timetable.after(7 * SECOND))


@pytest.mark.parametrize(
    "when",
    [
        Cron("* * * * *", "Pacific/Apia"),
        Cron("0 0 29 2 *"),
        Cron("0 23 31 12 *", "America/New_York"),
        Every(10**15),
        Once(LATEST),
    ],
)
def test_timetables_end_with_the_calendar(when: Cron | Every | Once) -> None:
    assert len(list(Timetable(when).after(LATEST - 10 * MINUTE))) <= 10
    assert not list(Timetable(when).after(10**30))
    assert len(list(islice(Timetable(when).after(-(10**30)), 2))) in (0, 2)


def test_rare_dates_are_found_at_once() -> None:
    begin = clock.process_time()
    found = make(cron="0 0 29 2 *").between(micros("2096-03-01T00:00:00Z"), LATEST, 3)
    assert [one.local[:10] for one in found] == ["2104-02-29", "2108-02-29", "2112-02-29"]
    assert clock.process_time() - begin < 1


@pytest.mark.parametrize(
    "cron",
    [
        "0 0 * * 0",
        "0 0 * * 7",
        "0 0 * * SUN",
        "0 0 * jan-mar sun",
        " 0  0 * * 7 ",
        "1-59/2,0 */3 1,15 feb 5-7",
        "0 0 L * *",
    ],
)
def test_expressions_that_are_taken(cron: str) -> None:
    assert make(cron=cron).when == Cron(" ".join(cron.split()))


def test_sunday_is_0_and_7_and_sun() -> None:
    ways = [make(cron=f"0 0 * * {sunday}") for sunday in ("0", "7", "sun")]
    assert len({way.between(0, 10**14, 5) for way in ways}) == 1


WRONG_CRON = [
    ("0 25 * * *", "hour field '25' is wrong: 25 is out of range; it takes 0 to 23; for example 2 or 9-17"),
    ("60 * * * *", "minute field '60'"),
    ("0 0 0 * *", "day of month field '0'"),
    ("0 0 * 13 *", "it takes 1 to 12, or jan to dec"),
    ("0 0 * * 8", "it takes 0 to 7 (0 and 7 are Sunday), or sun to sat"),
    ("0 0 * * thur", "'thur' is no day of week; did you mean thu?"),
    ("*/0 * * * *", "the step in '*/0' must be a whole number from 1"),
    ("0 17-9 * * *", "the range '17-9' runs backwards"),
    ("0 0 * * fri-sun", "runs backwards; at the end of a range Sunday is 7"),
    ("1,,2 * * * *", "nothing before or after a comma"),
    ("0 2x * * *", "'2x' is not understood"),
    ("0 0 31 2 *", "no date is ever day of month '31' in month '2'"),
    ("0 0 31 4,jun,9,11 *", "no date is ever"),
    ("* * */20 * 1L", "no date is ever"),
    ("@hourly", "write '0 * * * *'"),
    ("0 * * *", "has 4 fields, expected five: minute, hour"),
    ("0 0 * * * *", "has 6 fields"),
    ("", "has 0 fields"),
    ("9" * 5000 + " * * * *", "longer than 200 characters"),
]


@pytest.mark.parametrize(("cron", "reason"), WRONG_CRON, ids=range(len(WRONG_CRON)))
def test_a_wrong_expression_says_which_field_and_why(cron: str, reason: str) -> None:
    with pytest.raises(InvalidTimetable) as caught:
        make(cron=cron)
    (problem,) = caught.value.problems
    assert problem.field == "cron"
    assert reason in problem.reason


@given(st.text("0123456789*/-,#LWmonjaf ?²@\0", max_size=30) | st.text(max_size=20))
def test_no_expression_is_an_accident(cron: str) -> None:
    try:
        timetable = make(cron=cron)
    except InvalidTimetable as error:
        assert error.problems[0].field == "cron"
    else:
        assert next(timetable.after(0)).at > 0


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Europe/Stokholm", "did you mean Europe/Stockholm?"),
        ("europe/stockholm", "did you mean Europe/Stockholm?"),
        ("new york", "did you mean America/New_York?"),
        ("CEST", "write it as in Europe/Stockholm or UTC"),
        ("Europe", "write it as in"),
        ("", "write it as in"),
        ("../../etc/passwd", "write it as in"),
        ("localtime", "write it as in"),
        ("a\0b", "write it as in"),
    ],
)
def test_a_zone_that_is_none_is_told_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(InvalidTimetable) as caught:
        make(cron="0 0 * * *", timezone=name)
    assert [problem.field for problem in caught.value.problems] == ["timezone"]
    assert suggestion in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidTimetable) as caught:
        make(cron="0 25 * * *", timezone="Nowhere", every=0.5, start_at=5, end_at=5)
    assert [problem.field for problem in caught.value.problems] == ["every", "cron", "timezone", "every", "end_at"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (make, "cron"),
        (lambda: make(every=float("nan")), "every"),
        (lambda: make(every=1e300), "every"),
        (lambda: make(every=60, timezone="UTC"), "timezone"),
        (lambda: make(at=5, anchor=5), "anchor"),
        (lambda: make(at=5, start_at=6), "at"),
        (lambda: make(at=5, end_at=5), "at"),
        (lambda: make(at=10**30), "at"),
        (lambda: make(at=micros("0001-01-01T00:00Z")), "at"),
        (lambda: make(at=micros("9999-12-31T00:00Z"), start_at=5), "at"),
        (lambda: make(every=60, anchor=-(10**30)), "anchor"),
        (lambda: make(every=60, anchor=micros("0001-01-01T00:00+14:00")), "anchor"),
        (lambda: make(every=60, start_at=micros("9999-12-31T00:00Z")), "start_at"),
        (lambda: make(cron="0 0 * * *", start_at=-(10**30)), "start_at"),
        (lambda: make(cron="0 0 * * *", end_at=micros("0001-01-01T00:00Z")), "end_at"),
        (lambda: make(every=60, end_at=10**30), "end_at"),
        (
            lambda: make(cron="0 0 29 2 *", start_at=micros("2025-01-01T00:00Z"), end_at=micros("2028-02-29T00:00Z")),
            "end_at",
        ),
    ],
)
def test_what_does_not_go_together_or_is_never_due_is_refused(wrong: Callable[[], Timetable], field: str) -> None:
    with pytest.raises(InvalidTimetable) as caught:
        wrong()
    assert [problem.field for problem in caught.value.problems] == [field]


def test_bounds_may_be_anywhere_in_the_calendar() -> None:
    found = make(every=60, start_at=micros("0001-01-01T00:00Z"), end_at=micros("9999-12-31T23:59:59.999999Z"))
    assert next(found.after(0)).at == MINUTE


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
