"""At which moments a cron expression is due, also where the clock of its zone is changed.

cronsim says which times of which dates match, with no zone; here they become moments, in one of two ways.

*Times of day* (`30 2 * * *`, `0 */6 * * *`, `0 9-17 * * 1-5`): on every date that the expression names, each of
its times occurs once. A time that the clock leaves out moves to the first moment after the gap, also where the
gap is a whole date; a time that the clock shows twice counts the first time. Times that thus meet at one moment
are one occurrence.

*A rhythm* (`0 * * * *`, `*/15 * * * *`, `*/10 2 * * *`): an occurrence at every minute of real time
at which the clock shows a matching time. What the clock leaves out does not occur, what it shows twice occurs
twice; so an hourly one occurs on days of 23, 24 and 25 hours as often as they have hours. If the hours are
limited and the clock leaves out all times of a date, that date has one occurrence, at the first moment after the
gap.

It is a rhythm if all hours match, or if the minute field has `*` or a step and stands for more than one value, or
stands for all there are; else it is times of day. Every so many hours is times of day: a backup at 00, 06, 12 and 18
is wanted four times on every date.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from itertools import groupby, takewhile
from operator import attrgetter
from zoneinfo import ZoneInfo

from cronsim import CronSim

from runsd.model import zones

# The last dates of the calendar have no moments in some zones.
_END = datetime(9999, 12, 30)


@dataclass(frozen=True, slots=True)
class Due:
    """`at`: microseconds, UTC. `note`: why it is not as written, if so."""

    at: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A matching time and a moment that it stands for."""

    at: int
    wall: datetime
    left_out: bool = False
    twice: bool = False


def due_after(moment: int, expression: str, zone: ZoneInfo) -> Iterator[Due]:
    """Strictly after `moment`, in order, one computed at a time. The expression is taken to be checked."""
    clock = zones.wall_clock(moment, zone)
    # In the first pass of a time that comes twice, the clock has still to show earlier times again.
    walls = CronSim(expression, clock - zones.repeated(clock, zone))
    shown = _rhythm(walls, zone) if _is_rhythm(expression, walls) else _times_of_day(walls, zone)
    for at, group in groupby(shown, key=attrgetter("at")):
        if at > moment:
            yield Due(at, _note(group, zone))


def _is_rhythm(expression: str, cron: CronSim) -> bool:
    minute = expression.split()[0]
    goes_on = len(cron.minutes) > 1 and ("*" in minute or "/" in minute)
    return goes_on or len(cron.minutes) == 60 or len(cron.hours) == 24


def _times_of_day(walls: CronSim, zone: ZoneInfo) -> Iterator[_Shown]:
    for wall in _matching(walls):
        moments = zones.shown_at(wall, zone)
        if moments:
            yield _Shown(moments[0], wall, twice=len(moments) > 1)
        else:
            yield _Shown(zones.passed_at(wall, zone), wall, left_out=True)


def _rhythm(walls: CronSim, zone: ZoneInfo) -> Iterator[_Shown]:
    again: deque[_Shown] = deque()
    for wall in _matching(walls):
        found = [_Shown(at, wall) for at in zones.shown_at(wall, zone)]
        if not found and _leaves_out_all(wall, walls, zone):
            found = [_Shown(zones.passed_at(wall, zone), wall, left_out=True)]
        if not found:
            continue
        while again and again[0].at < found[0].at:
            yield again.popleft()
        yield found[0]
        again.extend(found[1:])
    yield from again


def _leaves_out_all(wall: datetime, cron: CronSim, zone: ZoneInfo) -> bool:
    """Whether the clock shows none of the times of that date, of an expression with limited hours."""
    if len(cron.hours) == 24:
        return False
    times = (time(hour, minute) for hour in cron.hours for minute in cron.minutes)
    return not any(zones.shown_at(datetime.combine(wall, time), zone) for time in times)


def _matching(walls: CronSim) -> Iterator[datetime]:
    try:
        yield from takewhile(lambda wall: wall < _END, walls)
    except OverflowError:  # cronsim looked beyond the year 9999
        return


def _note(group: Iterable[_Shown], zone: ZoneInfo) -> str:
    """`group`: what is due at one moment, of which at least one."""
    first = next(iter(group))
    if first.twice:
        return f"{first.wall:%H:%M} comes twice on {first.wall:%Y-%m-%d} in {zone.key}; the first counts"
    if not first.left_out:
        return ""
    last = [first, *(shown for shown in group if shown.left_out)][-1]
    moved_to = zones.wall_clock(first.at, zone)
    to = f"{moved_to:%H:%M}" + (f" on {moved_to:%Y-%m-%d}" if moved_to.date() != first.wall.date() else "")
    if last is first:
        what = f"{first.wall:%H:%M} does not exist"
    else:
        what = f"the times from {first.wall:%H:%M} to {last.wall:%H:%M} do not exist"
    return f"{what} on {first.wall:%Y-%m-%d} in {zone.key}; moved to {to}"
