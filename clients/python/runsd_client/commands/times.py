"""How times read to a person."""

from __future__ import annotations

from datetime import datetime

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def duration(milliseconds: int | None) -> str:
    """`12ms`, `3.4s`, `5m 6s`, `7h 8m`."""
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f}s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {seconds}s"


def interval(seconds: float) -> str:
    """Exact, in the largest unit that leaves a whole number: `90s`, `10m`, `1d`; it can be typed again."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds:.15g}s"


def milliseconds_between(start: datetime, end: datetime) -> int:
    """Never negative: two clocks may differ."""
    return max(0, int((end - start).total_seconds() * 1000))


def age(moment: datetime | None, now: datetime) -> str:
    """`now`, `5s ago`, `3d ago`, `in 2h`."""
    if moment is None:
        return ""
    seconds = int((now - moment).total_seconds())
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            amount = f"{abs(seconds) // size}{unit}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "now"
