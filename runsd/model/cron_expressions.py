"""Cron expressions, checked: five fields, understood by cronsim; a wrong one says which field, and why.

cronsim decides what is right. What is here beyond it only finds words for what it refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from cronsim import CronSim, CronSimError

from runsd.model.tables import nearest

MAX_LENGTH = 200
EXAMPLE = "30 2 * * mon-fri"

# The 50 years that cronsim looks ahead from here have every kind of year.
_SOME_DAY = datetime(2000, 1, 1)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    example: str
    names: tuple[str, ...] = ()
    hint: str = ""

    def takes(self) -> str:
        names = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"it takes {self.low} to {self.high}{self.hint}{names}"


_FIELDS = (
    _Field("minute", 0, 59, "0,30 or */15"),
    _Field("hour", 0, 23, "2 or 9-17"),
    _Field("day of month", 1, 31, "1,15, or L for the last"),
    _Field("month", 1, 12, "1-6 or jan", _MONTHS),
    _Field("day of week", 0, 7, "mon-fri or 0,6", _DAYS, " (0 and 7 are Sunday)"),
)


def checked(expression: str) -> str:
    """The expression with single spaces. Raises ValueError saying which field is wrong, why, and what is right."""
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters; for example {EXAMPLE!r}")
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(_wrong_count(expression, len(parts)))
    for position, (field, text) in enumerate(zip(_FIELDS, parts, strict=True)):
        _check_field(position, field, text)
    normal = " ".join(parts)
    if not _ever(normal):
        raise ValueError(_never(*parts[2:]))
    return normal


def _wrong_count(expression: str, count: int) -> str:
    if macro := _MACROS.get(expression.strip().lower()):
        return f"{expression.strip()} is not taken; write {macro!r}"
    return (
        f"{expression!r} has {count} field{'s' * (count != 1)}, expected five: minute, hour, day of month, month, "
        f"day of week; for example {EXAMPLE!r}"
    )


def _check_field(position: int, field: _Field, text: str) -> None:
    for term in text.split(","):
        fields = ["*"] * len(_FIELDS)
        fields[position] = term
        if not _parses(" ".join(fields)):
            why = _why(field, term.lower())
            raise ValueError(f"the {field.name} field {text!r} is wrong: {why}; for example {field.example}")


def _parses(expression: str) -> bool:
    try:
        CronSim(expression, _SOME_DAY)
    except CronSimError:
        return False
    return True


def _ever(expression: str) -> bool:
    try:
        return next(CronSim(expression, _SOME_DAY), None) is not None
    except CronSimError:
        return False


def _never(day: str, month: str, weekday: str) -> str:
    return (
        f"no date is ever day of month {day!r} in month {month!r} on day of week {weekday!r}; "
        "for example '0 0 L 2 *' is the last day of February"
    )


def _why(field: _Field, term: str) -> str:
    if not term:
        return "there is nothing before or after a comma"
    items, slash, step = term.partition("/")
    for word in re.split(r"[-#]", items):
        if reason := _why_word(field, word):
            return reason
    if slash and not (step.isdecimal() and int(step)):
        return f"the step in {term!r} must be a whole number from 1"
    start, _, end = items.partition("-")
    low, high = _number(field, start), _number(field, end)
    if low is not None and high is not None and low > high:
        sunday = "; at the end of a range Sunday is 7" if field.name == "day of week" and high == 0 else ""
        return f"the range {items!r} runs backwards{sunday}"
    return f"{term!r} is not understood; {field.takes()}"


def _why_word(field: _Field, word: str) -> str:
    if word.isdecimal():
        number = int(word)
        return "" if field.low <= number <= field.high else f"{number} is out of range; {field.takes()}"
    if word.isalpha() and field.names and word not in field.names:
        return f"{word!r} is no {field.name}; {nearest(word, field.names, 'names')}"
    return ""


def _number(field: _Field, word: str) -> int | None:
    if word in field.names:
        return field.names.index(word) + field.low
    return int(word) if word.isdecimal() else None
