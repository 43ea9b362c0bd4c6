"""Durations as people write them: `30s`, `1.5h`, `2d`, or a number of seconds."""

from __future__ import annotations

from datetime import timedelta

Duration = float | timedelta | str

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(duration: Duration) -> float:
    """Raises ValueError saying what would be right. How long it may be is the daemon's to say."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, str):
        return _parsed(duration)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)):
        raise _no_duration(duration)
    return duration


def _parsed(text: str) -> float:
    trimmed = text.strip()
    number = trimmed.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = trimmed[len(number) :] or "s"
    try:
        return float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        raise _no_duration(text) from None


def _no_duration(duration: object) -> ValueError:
    return ValueError(f"{duration!r} is no duration; write it as in 30s, 10m, 24h, 7d or a number of seconds")
