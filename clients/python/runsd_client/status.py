"""From a failed call's status and its google.rpc details to an error of ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from runsd_client.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ConflictError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionError,
    RunsError,
    UnreachableError,
)

_DOMAIN = "runsd"

_PLAIN: dict[grpc.StatusCode, type[RunsError]] = {
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
}
_INVALID = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE}
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
# What gRPC itself says under other codes when a connection breaks in the middle of a call.
_BROKEN_CONNECTION = ("RST_STREAM", "Stream removed", "Socket closed", "GOAWAY")

# What gRPC writes before the cause: a code, the address again, and what everybody sees.
_NOISE = re.compile(r"([A-Z_]+: )?((ipv4|ipv6|unix)\S*: )?(Failed to connect to remote host: )?")


@dataclass(frozen=True, slots=True)
class _Failure:
    """`reason` is empty when the status is not the daemon's own but came up on the way."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    violations: tuple[FieldViolation, ...] = field(default=())


def error_of(call: Any, address: str) -> RunsError:
    """The error of a call that failed: a `grpc.RpcError`, sync or async."""
    failure = _read(call)
    code, message, reason = failure.code.name, failure.message, failure.reason
    if failure.code in _GONE or _is_broken_connection(failure):
        return _unreachable(failure, address)
    if failure.code in _INVALID:
        return InvalidRequestError(failure.violations, message, code=code, reason=reason or "INVALID_REQUEST")
    if failure.code is grpc.StatusCode.UNAUTHENTICATED:
        return ConfigurationError(f"{message}; set RUNSD_API_TOKEN to a token of this daemon", code=code, reason=reason)
    if "larger than max" in message and not reason:
        return RunsError(f"too much for one message: {message}", code=code, reason="MESSAGE_TOO_LARGE")
    if failure.code is grpc.StatusCode.UNIMPLEMENTED:
        message = f"the daemon at {address} does not know this call; is it older than this client? ({message})"
    return _PLAIN.get(failure.code, RunsError)(message, code=code, reason=reason)


def _read(call: Any) -> _Failure:
    code = call.code() or grpc.StatusCode.UNKNOWN
    message = call.details() or code.name
    try:
        status = rpc_status.from_call(call)
    except (ValueError, DecodeError):
        status = None
    if status is None:
        return _Failure(code, message)
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad_request)
    violations = tuple(FieldViolation(v.field, v.description) for v in bad_request.field_violations)
    reason = info.reason if info.domain == _DOMAIN else ""
    return _Failure(code, status.message or message, reason, violations)


def _is_broken_connection(failure: _Failure) -> bool:
    by_grpc = failure.code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN} and not failure.reason
    return by_grpc and any(sign in failure.message for sign in _BROKEN_CONNECTION)


def _unreachable(failure: _Failure, address: str) -> UnreachableError:
    code, reason = failure.code.name, failure.reason or "UNREACHABLE"
    if failure.reason:
        return UnreachableError(f"{failure.message} ({address})", address, code=code, reason=reason)
    if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnreachableError(f"the daemon at {address} does not answer", address, code=code, reason=reason)
    cause = _NOISE.sub("", failure.message.rpartition("error: ")[2], count=1)
    message = f"no daemon at {address}: {cause}; `runsd serve` starts one, RUNSD_ADDRESS names another"
    return UnreachableError(message, address, code=code, reason=reason)
