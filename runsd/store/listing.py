"""Lists of runs: filters, and keyset pages that stay right while runs are added.

A page token is a place between two runs and the direction to read in, so what is added or ended
meanwhile moves nothing. It carries a mark of its filters: with others it is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
from dataclasses import astuple, dataclass, replace
from typing import Any

from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.record import Documents, Record
from runsd.model.run import RunStatus
from runsd.model.targets import RunKind
from runsd.store.rows import RUN_COLUMNS, json_array, run_from_row

DEFAULT_LIMIT = 50
NEWEST = 1 << 62


@dataclass(frozen=True, slots=True)
class RunFilter:
    """A run must fit every filter that is set. `metadata_json` is a JSON object or empty."""

    project: str
    limit: int = DEFAULT_LIMIT
    page_token: str = ""
    statuses: tuple[RunStatus, ...] = ()
    kind: RunKind | None = None
    target: str = ""
    name_prefix: str = ""
    parent_run_id: str = ""
    batch_id: str = ""
    schedule_id: str = ""
    metadata_json: str = ""
    created_from: int | None = None
    created_before: int | None = None

    def mark(self) -> str:
        alike = replace(self, limit=0, page_token="")
        return hashlib.blake2b(repr(astuple(alike)).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class RunPage:
    """Newest first; tokens are empty where there is no such page."""

    records: list[Record]
    self_token: str
    next_token: str
    prev_token: str


@dataclass(frozen=True, slots=True)
class Place:
    """Between two runs: `older` reads those before `run_no`, else those after it."""

    older: bool
    run_no: int

    def token(self, mark: str) -> str:
        text = f"{'o' if self.older else 'n'}:{self.run_no}:{mark}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, token: str, mark: str) -> Place:
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            direction, number, its_mark = text.split(":")
            place = cls({"o": True, "n": False}[direction], min(int(number), NEWEST))
        except (ValueError, KeyError, binascii.Error):
            raise _invalid("is not a token of this list; take it from page_info of an earlier answer") from None
        if its_mark != mark:
            raise _invalid("belongs to a list with other filters; send the same filters, or no token")
        return place


def _invalid(description: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation("page_token", description)])


def list_runs(connection: sqlite3.Connection, wanted: RunFilter, page_bytes: int) -> RunPage:
    """Raises InvalidRequest for a token of another list."""
    mark = wanted.mark()
    place = Place.parse(wanted.page_token, mark) if wanted.page_token else Place(True, NEWEST)
    rows, more = _page(connection, wanted, place, page_bytes)
    if not place.older:
        rows.reverse()
    has_older = bool(rows) and (more if place.older else True)
    has_newer = bool(rows) and (place.run_no != NEWEST if place.older else more)
    records = [Record(run_from_row(row[4:]), Documents(*row[1:4])) for row in rows]
    return RunPage(
        records,
        self_token=wanted.page_token,
        next_token=Place(True, rows[-1][0]).token(mark) if has_older else "",
        prev_token=Place(False, rows[0][0]).token(mark) if has_newer else "",
    )


def _page(
    connection: sqlite3.Connection, wanted: RunFilter, place: Place, page_bytes: int
) -> tuple[list[tuple[Any, ...]], bool]:
    where, values = _conditions(wanted)
    side, order = ("run_no < ?", "DESC") if place.older else ("run_no > ?", "ASC")
    cursor = connection.execute(
        f"SELECT run_no, input_json, config_json, output_json, {RUN_COLUMNS} "
        f"FROM runs JOIN documents USING (run_no) WHERE {side} AND {where} ORDER BY run_no {order}",
        (place.run_no, *values),
    )
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in cursor:
        length = sum(len(value) for value in row if isinstance(value, str))
        if len(rows) == wanted.limit or (rows and size + length > page_bytes):
            return rows, True
        rows.append(row)
        size += length
    return rows, False


def _conditions(wanted: RunFilter) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, Any]] = [("project = ?", wanted.project)]
    if len(wanted.statuses) == 1:
        # Spelled so that the index gives the order, without a sort.
        conditions.append(("status = ?", wanted.statuses[0].value))
    elif wanted.statuses:
        names = json_array([status.value for status in wanted.statuses])
        conditions.append(("status IN (SELECT value FROM json_each(?))", names))
    if wanted.kind:
        conditions.append(("kind = ?", wanted.kind.value))
    if wanted.name_prefix:
        conditions.append(("substr(name, 1, length(?)) = ?", wanted.name_prefix))
    equal = {field: getattr(wanted, field) for field in _EQUAL}
    conditions.extend((f"{column} = ?", value) for column, value in equal.items() if value)
    if wanted.created_from is not None:
        conditions.append(("created_at >= ?", wanted.created_from))
    if wanted.created_before is not None:
        conditions.append(("created_at < ?", wanted.created_before))
    return _joined(conditions, wanted.metadata_json)


_EQUAL = ("target", "parent_run_id", "batch_id", "schedule_id")


def _joined(conditions: list[tuple[str, Any]], metadata_json: str) -> tuple[str, list[Any]]:
    texts = [text for text, _ in conditions]
    values = [value for text, value in conditions for _ in range(text.count("?"))]
    if metadata_json:
        # Each wanted member has an equal one, by type and value, in the run's metadata.
        texts.append(
            "metadata_json <> '' AND NOT EXISTS (SELECT 1 FROM json_each(?) w WHERE NOT EXISTS ("
            "SELECT 1 FROM json_each(metadata_json) m WHERE m.key = w.key AND m.type = w.type AND m.value IS w.value))"
        )
        values.append(metadata_json)
    return " AND ".join(texts), values
