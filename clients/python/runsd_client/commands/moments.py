"""Times as people type them: a date, a time of a zone, or RFC 3339."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient

_LENGTH_OF_DATE = len("2027-03-27")
_FIRST_YEAR, _LAST_YEAR = 2, 9998


class MomentReader:
    """What has no offset is of the zone that `zone_name` tells, which is asked only then; it may be empty."""

    def __init__(self, client: RunsClient, zone_name: Callable[[], str]) -> None:
        self._client = client
        self._zone_name = zone_name

    def read(self, option: str, text: str) -> datetime:
        """A date is midnight, of UTC where no zone is named. Raises typer.BadParameter."""
        text = text.strip()
        moment = self._read(option, text)
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            # Elsewhere an offset may lead out of the calendar.
            raise typer.BadParameter(
                f"{text!r} is out of range; write a year from {_FIRST_YEAR} to {_LAST_YEAR}", param_hint=option
            )
        return moment

    def _read(self, option: str, text: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is no date and no time; write it as in 2027-03-27 or 2027-03-27T09:30:00+02:00",
                param_hint=option,
            ) from None
        if moment.tzinfo is not None:
            return moment
        if name := self._zone_name():
            return moment.replace(tzinfo=self._zone(option, name))
        if len(text) > _LENGTH_OF_DATE:
            raise typer.BadParameter(
                f"{text!r} may be a time of any zone; write it as in {text}+02:00, or {text}Z for UTC",
                param_hint=option,
            )
        return moment.replace(tzinfo=UTC)

    def _zone(self, option: str, name: str) -> ZoneInfo:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            # The daemon knows the nearest name, and perhaps zones that this machine does not.
            self._client.schedules.preview(cron="0 0 * * *", timezone=name, count=1)
            raise typer.BadParameter(
                f"this machine does not know the zone {name}; write the time with its offset", param_hint=option
            ) from None
