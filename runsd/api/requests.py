"""Requests that only read, checked: limits, filters, tokens. Every field at fault is named at once."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from runsd_client.proto import runs_pb2

from runsd.api.conversion import KINDS, KINDS_BY_NUMBER, STATUSES, STATUSES_BY_NUMBER
from runsd.model.documents import checked_object
from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.times import MICROSECONDS
from runsd.store.listing import DEFAULT_LIMIT, RunFilter

MAX_PAGE = 1000
DEFAULT_EVENTS = 100
MAX_FILTER_BYTES = 64 << 10
# Of the years 1 to 9999.
MIN_SECONDS, MAX_SECONDS = -62_135_596_800, 253_402_300_799


def page_limit(limit: int, default: int, field: str = "limit") -> int:
    if not 0 <= limit <= MAX_PAGE:
        raise InvalidRequest([FieldViolation(field, f"must be from 1 to {MAX_PAGE}, or 0 for {default}")])
    return limit or default


def cursor(field: str, value: int) -> int:
    if value < 0:
        raise InvalidRequest([FieldViolation(field, "must be 0 or more")])
    return value


def wait_seconds(seconds: float) -> float | None:
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidRequest([FieldViolation("timeout_seconds", "must be 0 or more")])
    return seconds or None


def choices(numbers: Mapping[Any, int]) -> str:
    """What a number on the wire may be, of an enum's members."""
    return "give " + ", ".join(f"{number} for {member.value}" for member, number in numbers.items())


def moment_of(value: Timestamp, field: str) -> int:
    """Microseconds. Raises InvalidRequest for what protobuf does not define."""
    if not (MIN_SECONDS <= value.seconds <= MAX_SECONDS and 0 <= value.nanos < 10**9):
        description = "is no moment: seconds within the years 1 to 9999, nanos from 0 to 999999999"
        raise InvalidRequest([FieldViolation(field, description)])
    return value.seconds * MICROSECONDS + value.nanos // 1000


def run_filter(request: runs_pb2.ListRunsRequest, project: str) -> RunFilter:
    faults = [
        FieldViolation("statuses", f"{number} is no status; {choices(STATUSES)}")
        for number in request.statuses
        if number not in STATUSES_BY_NUMBER
    ]
    if request.kind not in (*KINDS_BY_NUMBER, 0):
        faults.append(FieldViolation("kind", f"{request.kind} is no kind; {choices(KINDS)}"))
    if request.metadata_json:
        try:
            checked_object(request.metadata_json, MAX_FILTER_BYTES)
        except ValueError as error:
            faults.append(FieldViolation("metadata_json", str(error)))
    created = _created(request, faults)
    if faults:
        raise InvalidRequest(faults)
    return RunFilter(
        project=project,
        limit=page_limit(request.limit, DEFAULT_LIMIT),
        page_token=request.page_token,
        statuses=tuple(STATUSES_BY_NUMBER[number] for number in request.statuses),
        kind=KINDS_BY_NUMBER.get(request.kind),
        target=request.target,
        name_prefix=request.name_prefix,
        parent_run_id=request.parent_run_id,
        batch_id=request.batch_id,
        schedule_id=request.schedule_id,
        metadata_json=request.metadata_json,
        created_from=created.get("created_from"),
        created_before=created.get("created_before"),
    )


def _created(request: runs_pb2.ListRunsRequest, faults: list[FieldViolation]) -> dict[str, int]:
    """What is given of the bounds, by field; `faults` gets those that are no moments."""
    given: dict[str, int] = {}
    for field, value in (("created_from", request.created_from), ("created_before", request.created_before)):
        if request.HasField(field):  # type: ignore[arg-type]
            try:
                given[field] = moment_of(value, field)
            except InvalidRequest as error:
                faults += error.violations
    return given


def name_token(of: str, name: str) -> str:
    """The place after `name` in a list by name; `of` says in which."""
    return base64.urlsafe_b64encode(f"{of}:{name}".encode()).decode()


def name_from_token(of: str, token: str) -> str:
    """Empty for the first page. Raises InvalidRequest for what is no token of the list."""
    if not token:
        return ""
    with suppress(ValueError):  # binascii's and UTF-8's
        name = base64.urlsafe_b64decode(token).decode().removeprefix(f"{of}:")
        # Decoding passes over whatever is not of its alphabet.
        if name_token(of, name) == token:
            return name
    message = "is not a token of this list; take it from page_info of an earlier answer"
    raise InvalidRequest([FieldViolation("page_token", message)])
