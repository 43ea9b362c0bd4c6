"""How a call of the fake daemon fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call fails. Without a reason it looks like one of the transport."""

    code: grpc.StatusCode
    message: str = "told to fail"
    reason: str = ""
    violations: tuple[tuple[str, str], ...] = ()


LOST = Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed")


async def fail(context: Any, failure: Failure) -> NoReturn:
    if not failure.reason:
        await context.abort(failure.code, failure.message)
    bad_request = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=name, description=description)
            for name, description in failure.violations
        ]
    )
    details = [error_details_pb2.ErrorInfo(reason=failure.reason, domain="runsd"), bad_request]
    packed = [AnyMessage() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    status = status_pb2.Status(code=failure.code.value[0], message=failure.message, details=packed)
    await context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("a call that was aborted went on")
