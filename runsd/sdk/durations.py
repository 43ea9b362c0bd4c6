"""Durations as people write them: `30s`, `1.5h`, `2d`, or a number of seconds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
MAX_SECONDS = 100 * 365 * 86400.0


def seconds(duration: str | float | timedelta) -> float:
    """Raises ValueError saying what would be right."""
    value = _value(duration)
    if value > MAX_SECONDS:
        raise ValueError(f"{_shown(duration)} is longer than 100 years, which is the most")
    if not value >= 0:
        raise ValueError(f"{_shown(duration)} is no duration; write '30s', '10m', '24h', '7d' or a number of seconds")
    return value


def _shown(duration: object) -> str:
    try:
        text = repr(duration)
    except ValueError:
        return "this number"  # Python writes out no int of more than 4300 digits
    return text if len(text) <= 100 else f"{text[:100]} …"


def _value(duration: str | float | timedelta) -> float:
    if isinstance(duration, bool):
        return -1.0
    if isinstance(duration, (int, float)):
        # No float holds every int.
        return float(min(max(-1.0, duration), 2 * MAX_SECONDS))
    if isinstance(duration, str):
        return _parsed(duration.strip())
    total = getattr(duration, "total_seconds", None)
    return float(total()) if total is not None else -1.0


def _parsed(text: str) -> float:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :]
    try:
        return float(number) * _UNITS[unit] if unit else float(number)
    except (ValueError, KeyError):
        return -1.0
