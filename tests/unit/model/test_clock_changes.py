"""Every change of many zones' clocks, against a second computation of what is due.

The second computation knows neither cronsim nor how a wall time becomes a moment. It walks over the minutes of
real time, asks zoneinfo what the clock shows at each, and applies the words of the policy to what it saw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from runsd.model.timetables import Occurrence
from runsd.model.timetables import timetable as make

SECOND = 1_000_000
MINUTE = 60 * SECOND

ZONES = (
    "Europe/Stockholm",
    "America/New_York",
    "America/Sao_Paulo",  # no changes since 2019
    "America/Santiago",  # changes at midnight
    "America/St_Johns",  # half an hour off
    "America/Nuuk",  # changes late in the evening, and moved to another offset
    "Australia/Lord_Howe",  # changes by half an hour
    "Africa/Cairo",  # changes at midnight
    "Africa/Casablanca",  # summer time all year but in Ramadan
    "Asia/Tehran",  # changes at midnight, until 2022
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Antarctica/Troll",  # changes by two hours
    "Europe/Dublin",  # winter time is the exception
    "UTC",
)
# Kinds of change that the ten years do not have.
OLDER = (("Pacific/Apia", 2010, 2013), ("America/Sao_Paulo", 2015, 2020), ("Asia/Pyongyang", 2015, 2019))


@dataclass(frozen=True)
class Expected:
    """An expression, and what it means in words that need no parser."""

    expression: str
    matches: Callable[[datetime], bool]
    rhythm: bool = False


EXPRESSIONS = (
    Expected("30 2 * * *", lambda wall: (wall.hour, wall.minute) == (2, 30)),
    Expected("0 0 * * *", lambda wall: (wall.hour, wall.minute) == (0, 0)),
    Expected("5 1,2,3 * * *", lambda wall: wall.hour in (1, 2, 3) and wall.minute == 5),
    Expected("0,45 0-3,23 * * *", lambda wall: wall.hour in (0, 1, 2, 3, 23) and wall.minute in (0, 45)),
    Expected("0 2 * * sun", lambda wall: (wall.hour, wall.minute, wall.isoweekday()) == (2, 0, 7)),
    Expected("30 2 29 2 *", lambda wall: (wall.month, wall.day, wall.hour, wall.minute) == (2, 29, 2, 30)),
    Expected("0 * * * *", lambda wall: wall.minute == 0, rhythm=True),
    Expected("*/15 * * * *", lambda wall: wall.minute % 15 == 0, rhythm=True),
    Expected("20 */6 * * *", lambda wall: wall.hour % 6 == 0 and wall.minute == 20),
    Expected("0 */2 * * *", lambda wall: wall.hour % 2 == 0 and wall.minute == 0),
    Expected("0,30 0-23/3 * * *", lambda wall: wall.hour % 3 == 0 and wall.minute in (0, 30)),
    Expected("*/20 2 * * *", lambda wall: wall.hour == 2 and wall.minute % 20 == 0, rhythm=True),
)


@dataclass(frozen=True)
class Window:
    """The whole dates about a change of a zone's clock: at which minutes it shows what, and what it goes past."""

    begin: int
    end: int
    shown: dict[datetime, list[int]]
    passed: dict[datetime, int]
    dates: list[list[datetime]]

    @classmethod
    def around(cls, zone: str, change: int) -> Window:
        one_minute = timedelta(minutes=1)
        seconds = range(change - 26 * 3600, change + 26 * 3600, 60)
        walls = [datetime.fromtimestamp(second, ZoneInfo(zone)).replace(tzinfo=None, fold=0) for second in seconds]
        days = [number for number, (a, b) in enumerate(pairwise(walls), 1) if a.date() < b.date()]
        shown: dict[datetime, list[int]] = {}
        passed: dict[datetime, int] = {}
        for number in range(days[0], days[-1]):
            wall, at = walls[number], seconds[number] * SECOND
            shown.setdefault(wall, []).append(at)
            left_out = walls[number - 1] + one_minute
            while left_out < wall:
                passed[left_out] = at
                left_out += one_minute
        named = sorted(wall for wall in {*shown, *passed} if wall.minute % 5 == 0)  # as in all of EXPRESSIONS
        dates = [list(times) for _, times in groupby(named, key=datetime.date)]
        return cls(seconds[days[0]] * SECOND, seconds[days[-1]] * SECOND, shown, passed, dates)

    def due(self, expected: Expected) -> tuple[set[int], set[int]]:
        """What is due, and what of it was moved."""
        due: set[int] = set()
        moved: set[int] = set()
        limited = expected.expression.split()[1] != "*"
        for day in self.dates:
            times = [wall for wall in day if expected.matches(wall)]
            left_out = [self.passed[wall] for wall in times if wall not in self.shown]
            for wall in times:
                moments = self.shown.get(wall, [])
                due.update(moments if expected.rhythm else moments[:1])
            if not expected.rhythm or (limited and len(left_out) == len(times)):
                moved.update(left_out)
        return due | moved, moved


def changes(zone: str, first_year: int, end_year: int) -> list[int]:
    """The seconds since 1970 at which the zone's offset from UTC changes."""

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, ZoneInfo(zone)).utcoffset()

    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (first_year, end_year))
    found = []
    for low in range(begin, end, 86400):
        before = offset(low)
        if offset(low + 86400) != before:
            day = range(low, low + 86401)
            found.append(day[bisect_right(day, False, key=lambda second: offset(second) != before)])
    return found


DECADE = (date(2020, 1, 1), date(2031, 1, 1))
DAYS = (DECADE[1] - DECADE[0]).days
SIX_HOURLY = [time(hour) for hour in (0, 6, 12, 18)]


def in_changes(zone: str) -> set[time]:
    """Times of day that the clock leaves out or shows twice on some date of these years."""
    found = set()
    for change in changes(zone, DECADE[0].year, DECADE[1].year):
        walls = [shows(at * SECOND, zone) for at in (change - 1, change)]
        middle = min(walls) + abs(walls[1] - walls[0]) / 2
        found.add(middle.replace(second=0, microsecond=0).time())
    return found


def shows(at: int, zone: str) -> datetime:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def begins(day: date, zone: str) -> int:
    return as_micros(datetime.combine(day, time(), ZoneInfo(zone)))


def as_micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


CHANGES = [
    *((zone, change) for zone in ZONES for change in changes(zone, 2020, 2031)),
    *((zone, change) for zone, first, end in OLDER for change in changes(zone, first, end)),
    # A date that only some years have, and a zone that has no changes.
    *((zone, int(datetime(2024, 2, 29, tzinfo=UTC).timestamp())) for zone in ZONES),
]


def test_the_changes_are_of_many_kinds() -> None:
    def by(zone: str, change: int) -> timedelta:
        before, after = (datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset() for at in (change - 1, change))
        assert before is not None and after is not None
        return after - before

    sizes = {by(*change) / timedelta(minutes=1) for change in CHANGES}
    assert {0, 24 * 60, 60, -60, 30, -30, 120, -120} <= sizes
    assert len(CHANGES) > 200


@pytest.mark.parametrize("zone", sorted({zone for zone, _ in CHANGES}))
def test_every_change_of_a_clock_is_as_the_policy_says(zone: str) -> None:
    for change in (change for name, change in CHANGES if name == zone):
        window = Window.around(zone, change)
        for expected in EXPRESSIONS:
            due, moved = window.due(expected)
            timetable = make(cron=expected.expression, timezone=zone)
            found = timetable.between(window.begin, window.end, 10_000)
            where = f"{expected.expression} in {zone} about {datetime.fromtimestamp(change, UTC)}"
            assert [occurrence.at for occurrence in found] == sorted(due), where
            assert {one.at for one in found if "moved to" in one.note} == moved, where


@pytest.mark.parametrize("zone", sorted({zone for zone, _ in CHANGES}))
def test_around_a_change_it_does_not_matter_from_where_one_asks(zone: str) -> None:
    for change in [change for name, change in CHANGES if name == zone][-3:]:
        start, end = (change - 2 * 3600) * SECOND, (change + 2 * 3600) * SECOND
        for expected in EXPRESSIONS:
            timetable = make(cron=expected.expression, timezone=zone)
            whole = timetable.between(start, end, 1000)
            for moment in [*range(start, end, 30 * MINUTE), *(one.at - 1 for one in whole[::3])]:
                later = [one for one in whole if one.at > moment][:2]
                assert list(islice(timetable.after(moment), len(later))) == later


@pytest.mark.parametrize(("day", "hours"), [("2027-03-28", 23), ("2027-06-01", 24), ("2027-10-31", 25)])
def test_an_hourly_one_occurs_as_often_as_the_day_has_hours(day: str, hours: int) -> None:
    timetable = make(cron="0 * * * *", timezone="Europe/Stockholm")
    start = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Stockholm")).timestamp()) * SECOND
    found = [one.at for one in timetable.between(start, start + hours * 3600 * SECOND, 100)]
    assert found == [start + hour * 3600 * SECOND for hour in range(hours)]
    assert [one.local[:10] for one in islice(timetable.after(start - 1), hours + 1)] == [day] * hours + [
        (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_a_fixed_time_comes_exactly_once_on_every_date_of_ten_years(zone: str) -> None:
    times = in_changes(zone) or {time(2, 30)}
    for expression, wanted in [*((f"{at.minute} {at.hour} * * *", [at]) for at in times), ("0 */6 * * *", SIX_HOURLY)]:
        timetable = make(cron=expression, timezone=zone)
        walls = [datetime.combine(DECADE[0] + timedelta(day), at) for day in range(DAYS) for at in wanted]
        found = timetable.between(begins(DECADE[0], zone), begins(DECADE[1], zone), 2 * len(walls))
        assert len(found) == len(walls), expression
        for wall, occurrence in zip(walls, found, strict=True):
            first = as_micros(wall.replace(tzinfo=ZoneInfo(zone)))
            if shows(first, zone) == wall:
                assert (occurrence.at, "moved" in occurrence.note) == (first, False)
            else:
                assert shows(occurrence.at - 1, zone) < wall < shows(occurrence.at, zone)
                assert "moved" in occurrence.note


def test_the_fixed_times_are_left_out_and_come_twice_in_ten_zones() -> None:
    def kinds(zone: str) -> set[str]:
        timetables = [make(cron=f"{at.minute} {at.hour} * * *", timezone=zone) for at in in_changes(zone)]
        starts = [(change - 24 * 3600) * SECOND for change in changes(zone, 2020, 2031)]
        near = [one for way in timetables for start in starts for one in islice(way.after(start), 2)]
        return {kind for kind in ("moved to", "comes twice") for one in near if kind in one.note}

    assert sum(len(kinds(zone)) == 2 for zone in ZONES) >= 10


@pytest.mark.parametrize("zone", ZONES)
def test_an_hourly_one_keeps_its_hour_through_every_change_of_ten_years(zone: str) -> None:
    hour = 3600 * SECOND
    for change in changes(zone, 2020, 2031) or [as_micros(datetime(2024, 2, 29, tzinfo=UTC)) // SECOND]:
        day = shows(change * SECOND, zone).date()
        start, end = (begins(day + timedelta(days=days), zone) for days in (-7, 8))
        found = [one.at for one in make(cron="0 * * * *", timezone=zone).between(start, end, 1000)]
        assert (found[0], found[-1]) == (start, end - hour)
        odd = [(a, b) for a, b in pairwise(found) if b - a != hour]
        # A clock that is changed by half an hour has its full hours at other moments from then on.
        half = [change * SECOND] if zone == "Australia/Lord_Howe" else []
        assert [b - a for a, b in odd] == [hour * 3 // 2 for _ in half]
        assert all(a < at < b for (a, b), at in zip(odd, half, strict=True))


def test_all_hours_mean_the_same_however_they_are_written() -> None:
    start = micros("2027-10-30T00:00:00Z")
    ways = [make(cron=cron, timezone="Europe/Stockholm") for cron in ("0 * * * *", "0 0-23 * * *", "0 */1 * * *")]
    assert len({way.between(start, start + 72 * 3600 * SECOND, 100) for way in ways}) == 1


def test_a_step_that_stands_for_one_time_is_a_time_of_day() -> None:
    start, end = micros("2027-10-30T12:00:00Z"), micros("2027-11-01T12:00:00Z")
    timetable = make(cron="*/60 2/24 * * *", timezone="Europe/Stockholm")
    assert [one.local for one in timetable.between(start, end, 9)] == [
        "2027-10-31T02:00:00+02:00",
        "2027-11-01T02:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "local", "note"),
    [
        ("30 2 * * *", "Europe/Stockholm", "2027-03-27T12:00:00Z", "2027-03-28T03:00:00+02:00",
         "02:30 does not exist on 2027-03-28 in Europe/Stockholm; moved to 03:00"),
        ("0,30 2,3 * * *", "Europe/Stockholm", "2027-03-27T12:00:00Z", "2027-03-28T03:00:00+02:00",
         "the times from 02:00 to 02:30 do not exist on 2027-03-28 in Europe/Stockholm; moved to 03:00"),
        ("30 2 * * *", "Europe/Stockholm", "2027-10-30T12:00:00Z", "2027-10-31T02:30:00+02:00",
         "02:30 comes twice on 2027-10-31 in Europe/Stockholm; the first counts"),
        ("30 2 * * *", "Pacific/Apia", "2011-12-29T20:00:00Z", "2011-12-31T00:00:00+14:00",
         "02:30 does not exist on 2011-12-30 in Pacific/Apia; moved to 00:00 on 2011-12-31"),
        ("30 2 * * *", "Asia/Kathmandu", "2027-03-27T12:00:00Z", "2027-03-28T02:30:00+05:45", ""),
    ],
)  # fmt: skip
def test_what_is_not_as_written_says_why(cron: str, zone: str, after: str, local: str, note: str) -> None:
    found = next(make(cron=cron, timezone=zone).after(micros(after)))
    assert found == Occurrence(micros(local), local, note)


def micros(text: str) -> int:
    return as_micros(datetime.fromisoformat(text))
