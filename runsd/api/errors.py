"""Errors of the model to gRPC statuses with google.rpc details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from runsd.model.errors import (
    AlreadyThere,
    Damaged,
    InvalidRequest,
    KeyReused,
    NotAllowed,
    NotFound,
    NotPossible,
    Outdated,
    Overloaded,
    RunsdError,
    Stopping,
)

logger = structlog.get_logger()

DOMAIN = "runsd"
DETAILS_KEY = "grpc-status-details-bin"
# Clients take 8 KB of metadata, in which message and details travel, the message twice.
MAX_TEXT = 1000
MAX_VIOLATIONS = 10

_CODES: dict[type[RunsdError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    KeyReused: grpc.StatusCode.ALREADY_EXISTS,
    AlreadyThere: grpc.StatusCode.ALREADY_EXISTS,
    Outdated: grpc.StatusCode.ABORTED,
    NotPossible: grpc.StatusCode.FAILED_PRECONDITION,
    NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Damaged: grpc.StatusCode.DATA_LOSS,
    Stopping: grpc.StatusCode.UNAVAILABLE,
}

Servicer = TypeVar("Servicer")
Request = TypeVar("Request")
Response = TypeVar("Response")
Context = grpc.aio.ServicerContext[Any, Any]


def answering(
    method: Callable[[Servicer, Request], Awaitable[Response]],
) -> Callable[[Servicer, Request, Context], Awaitable[Response]]:
    """A unary handler out of a method that raises errors of the model."""

    @wraps(method)
    async def handle(servicer: Servicer, request: Request, context: Context) -> Response:
        try:
            return await method(servicer, request)
        except RunsdError as error:
            await refuse(context, error)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a request
            await _apologise(context, error, method.__name__)

    return handle


def streaming(
    method: Callable[[Servicer, Request], AsyncIterator[Response]],
) -> Callable[[Servicer, Request, Context], Any]:
    """The same for a method that yields responses."""

    @wraps(method)
    async def handle(servicer: Servicer, request: Request, context: Context) -> AsyncIterator[Response]:
        try:
            async for response in method(servicer, request):
                yield response
        except RunsdError as error:
            await refuse(context, error)
        except Exception as error:  # noqa: BLE001 - the outermost edge of a request
            await _apologise(context, error, method.__name__)

    return handle


async def refuse(context: Context, error: RunsdError) -> NoReturn:
    message = shortened(error.message)
    code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN), *_details(error)]
    status = status_pb2.Status(code=code.value[0], message=message, details=map(_packed, details))
    await context.abort(code, message, ((DETAILS_KEY, status.SerializeToString()),))


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    return text if len(text) <= limit else f"{text[:limit]} …"


async def _apologise(context: Context, error: Exception, method: str) -> NoReturn:
    logger.exception("request failed inside runsd", method=method)
    await context.abort(grpc.StatusCode.INTERNAL, f"runsd failed: {type(error).__name__}; its log has the details")


def _details(error: RunsdError) -> list[Message]:
    if isinstance(error, InvalidRequest):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=shortened(v.field, 100), description=shortened(v.description, 200)
            )
            for v in error.violations[:MAX_VIOLATIONS]
        ]
        return [error_details_pb2.BadRequest(field_violations=violations)]
    if isinstance(error, (NotFound, AlreadyThere)):
        return [_resource(error.resource_type, error.resource_name, error.message)]
    if isinstance(error, KeyReused):
        return [_resource("run", error.run_id, error.message)]
    return []


def _resource(kind: str, name: str, description: str) -> Message:
    info: Message = error_details_pb2.ResourceInfo(
        resource_type=kind, resource_name=shortened(name, 200), description=shortened(description, 200)
    )
    return info


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
