"""Checks a request to create a run against its definition. Every field at fault is named at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from runsd.definitions.catalog import Catalog
from runsd.definitions.schemas import violations
from runsd.engine.ids import new_run_id
from runsd.model.creation import CreateRequest, NewRun
from runsd.model.documents import checked, checked_object
from runsd.model.errors import FieldViolation, InvalidRequest
from runsd.model.targets import Definition, Schema, Target

MAX_TEXT = 200
MAX_PRIORITY = 1000
MAX_BACKOFF = 1000
MAX_METADATA_BYTES = 64 << 10
# Far enough for any wait, near enough for every calendar.
MAX_SECONDS = 100 * 365 * 86400.0

_TEXTS = (
    "name",
    "idempotency_key",
    "concurrency_key",
    "batch_id",
    "trigger_id",
    "created_by",
    "parent_run_id",
)
_SECONDS = ("timeout_seconds", "start_after_seconds", "expires_after_seconds")


def checked_request(catalog: Catalog, request: CreateRequest, payload_limit: int) -> NewRun:
    """Raises InvalidRequest, NotFound or NotPossible."""
    project = catalog.project(request.project)
    definition = catalog.definition(project.id, request.target)
    faults = [*_plain_faults(request), *_document_faults(request, definition, payload_limit)]
    if faults:
        raise InvalidRequest(faults)
    timeout, backoff = request.timeout_seconds, request.backoff_limit
    return NewRun(
        run_id=new_run_id(),
        project=project.id,
        target=Target.parse(request.target),
        request=request if request.project == project.id else request._replace(project=project.id),
        timeout_seconds=definition.timeout_seconds if timeout is None else timeout,
        backoff_limit=definition.backoff_limit if backoff is None else backoff,
    )


def _plain_faults(request: CreateRequest) -> Iterator[FieldViolation]:
    for field in _TEXTS:
        if len(getattr(request, field)) > MAX_TEXT:
            yield FieldViolation(field, f"has more than the {MAX_TEXT} characters that are allowed")
    for field in _SECONDS:
        value = getattr(request, field)
        if value is not None and not (math.isfinite(value) and 0 <= value <= MAX_SECONDS):
            yield FieldViolation(field, f"must be from 0 to {MAX_SECONDS:.0f} seconds, not {value:.15g}")
    if not -MAX_PRIORITY <= request.priority <= MAX_PRIORITY:
        yield FieldViolation("priority", f"must be from -{MAX_PRIORITY} to {MAX_PRIORITY}, not {request.priority}")
    if request.backoff_limit is not None and not 0 <= request.backoff_limit <= MAX_BACKOFF:
        yield FieldViolation("backoff_limit", f"must be from 0 to {MAX_BACKOFF}, not {request.backoff_limit}")
    if 0 < request.expires_after_seconds <= request.start_after_seconds:
        yield FieldViolation("expires_after_seconds", "must be more than start_after_seconds")


def _document_faults(request: CreateRequest, definition: Definition, limit: int) -> Iterator[FieldViolation]:
    yield from _faults("input_json", request.input_json, checked, limit, definition.input_schema)
    yield from _faults("config_json", request.config_json, checked, limit, definition.config_schema)
    if request.metadata_json:
        yield from _faults("metadata_json", request.metadata_json, checked_object, MAX_METADATA_BYTES, None)


def _faults(
    field: str, text: str, check: Callable[[str, int], Any], limit: int, schema: Schema | None
) -> Iterator[FieldViolation]:
    """No document is held against a schema as null, so that a schema can demand one."""
    if not text and schema is None:
        return
    try:
        value = check(text or "null", limit)
    except ValueError as error:
        yield FieldViolation(field, str(error))
        return
    if schema is not None:
        yield from violations(schema, value, field)
