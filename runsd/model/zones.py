"""Time zones: what a clock on a wall shows at a moment, and at which moments it shows a given time.

Moments are whole microseconds since 1970, UTC. Wall times are naive datetimes. Rules come from `zoneinfo`:
the machine's, or those of the package `tzdata` where the machine has none.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from runsd.model.tables import nearest

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Files of the machine that are no zone of the database: they differ from machine to machine.
_NO_ZONES = frozenset({"localtime", "Factory"})


def zone(name: str) -> ZoneInfo:
    """Raises ValueError with the nearest name when there is no such zone."""
    if name not in _names():
        raise ValueError(f"{name!r} is no time zone; {_suggestion(name)}")
    return ZoneInfo(name)


def is_known(name: str) -> bool:
    """Whether the machine has it now: one that was checked once may be gone since."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def moment_of(utc: datetime) -> int:
    return (utc - _EPOCH) // _MICROSECOND


def wall_clock(moment: int, zone: ZoneInfo) -> datetime:
    return _aware(moment, zone).replace(tzinfo=None, fold=0)


def shown_at(wall: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """The moments at which the clock shows `wall`, in order: one, two where it was set back, none where it was
    set forward.
    """
    earlier, later = _offsets(wall, zone)
    if earlier == later:
        return (moment_of(wall - earlier),)
    return (moment_of(wall - earlier), moment_of(wall - later)) if earlier > later else ()


def passed_at(wall: datetime, zone: ZoneInfo) -> int:
    """The first moment after the gap for a `wall` that no clock shows."""
    before, after = _offsets(wall, zone)
    low, high = moment_of(wall - after), moment_of(wall - before)
    while high - low > 1:
        middle = (low + high) // 2
        if _aware(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def repeated(wall: datetime, zone: ZoneInfo) -> timedelta:
    """By how much the clock is set back where `wall` is shown twice, else nothing."""
    earlier, later = _offsets(wall, zone)
    return max(earlier - later, timedelta())


def local_text(moment: int, zone: ZoneInfo) -> str:
    """RFC 3339 with the zone's offset."""
    return _aware(moment, zone).isoformat()


def _offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """What `wall` is read with by the rule before a change, and by the rule after it."""
    aware = wall.replace(tzinfo=zone, fold=0)
    return aware.utcoffset() or timedelta(), aware.replace(fold=1).utcoffset() or timedelta()


def _aware(moment: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH_UTC + timedelta(microseconds=moment)).astimezone(zone)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_ZONES


def _suggestion(name: str) -> str:
    """People write `stockholm`, `New York` and `europe/stockholm`."""
    wanted = name.strip().replace(" ", "_").casefold()
    for known in sorted(_names()):
        if wanted and wanted in (known.casefold(), known.casefold().rpartition("/")[2]):
            return f"did you mean {known}?"
    found = nearest(name, _names())
    # Abbreviations such as CEST are near to others that mean something else.
    if "/" in name and found.startswith("did you mean"):
        return found
    return "write it as in Europe/Stockholm or UTC"
