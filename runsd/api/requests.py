"""Requests that only read, checked: limits, filters, tokens. Every field at fault is named at once."""

from __future__ import annotations

import base64
import binascii
import math

from runsd_client.proto import runs_pb2

from runsd.api.conversion import KINDS_BY_NUMBER, STATUSES_BY_NUMBER, microseconds
from runsd.model.documents import checked_object
from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.store.listing import DEFAULT_LIMIT, RunFilter

MAX_PAGE = 1000
DEFAULT_EVENTS = 100
MAX_FILTER_BYTES = 64 << 10


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


def run_filter(request: runs_pb2.ListRunsRequest, project: str) -> RunFilter:
    faults = [
        FieldViolation("statuses", f"{number} is no status")
        for number in request.statuses
        if number not in STATUSES_BY_NUMBER
    ]
    if request.kind not in (*KINDS_BY_NUMBER, 0):
        faults.append(FieldViolation("kind", f"{request.kind} is no kind"))
    if request.metadata_json:
        try:
            checked_object(request.metadata_json, MAX_FILTER_BYTES)
        except ValueError as error:
            faults.append(FieldViolation("metadata_json", str(error)))
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
        created_from=microseconds(request.created_from) if request.HasField("created_from") else None,
        created_before=microseconds(request.created_before) if request.HasField("created_before") else None,
    )


def name_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def name_from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (ValueError, binascii.Error):
        message = "is not a token of this list; take it from page_info of an earlier answer"
        raise InvalidRequest([FieldViolation("page_token", message)]) from None
