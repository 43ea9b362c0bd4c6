"""What an ended process left for the daemon: its exit status, its output, its error."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from runsd.adapters.directory import AttemptDirectory
from runsd.adapters.regular_file import open_regular, read_small
from runsd.model.attempt import Outcome, exit_error
from runsd.model.documents import checked_bytes
from runsd.model.events import is_utf8
from runsd.model.run import ErrorCode, RunError
from runsd.sdk.documents import detail_json

ERROR_BYTES = 64 << 10
MAX_MESSAGE = 4000
MAX_CODE = 100


def outcome_of(directory: AttemptDirectory, payload_limit: int) -> Outcome:
    """The outcome by the files of an attempt whose process has ended."""
    status = _exit_status(directory.process)
    if status is None:
        message = "the attempt ended without a status: it was killed, or the machine went down"
        return Outcome(error=RunError(message, ErrorCode.INTERRUPTED), interrupted=True)
    error = exit_error(status, _signal_name(status))
    if error is not None:
        return Outcome(status, _told_error(directory.error, error))
    try:
        return Outcome(status, None, _output(directory.output, payload_limit))
    except ValueError as invalid:
        return Outcome(status, RunError(f"the output (RUNSD_OUTPUT) {invalid}", ErrorCode.OUTPUT_INVALID))


def _exit_status(file: Path) -> int | None:
    try:
        status = int((read_small(file) or "").splitlines()[2])
    except (IndexError, ValueError):
        return None
    return status if 0 <= status <= 255 else None


def _signal_name(status: int) -> str:
    """As in a shell, 128+n is the end by signal n."""
    try:
        return signal.Signals(status - 128).name if status > 128 else ""
    except ValueError:
        return ""


def _output(file: Path, limit: int) -> str:
    data = _read(file, limit)
    if data is None or not data.strip():
        return ""
    return checked_bytes(data.strip(), limit)


def _told_error(file: Path, fallback: RunError) -> RunError:
    """A process may say why it failed in RUNSD_ERROR; what does not read as an error is passed over."""
    try:
        told = json.loads(_read(file, ERROR_BYTES) or b"null")
        message, code, detail = told["message"], told.get("code", fallback.code), told.get("detail")
        text = detail_json(detail)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return fallback
    if not isinstance(message, str) or not isinstance(code, str) or not (is_utf8(message) and is_utf8(code)):
        return fallback
    return RunError(message[:MAX_MESSAGE], code[:MAX_CODE], text)


def _read(file: Path, limit: int) -> bytes | None:
    """The content; None when there is no file. Raises ValueError for what has none, or too much."""
    try:
        descriptor = open_regular(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as opened:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise ValueError(f"has {size:,} bytes, at most {limit:,} are allowed")
        return opened.read(limit)
