"""The Admin service."""

from __future__ import annotations

from runsd_client.proto import admin_pb2, admin_pb2_grpc

from runsd.api.errors import answering
from runsd.api.requests import wait_seconds
from runsd.engine.engine import Engine


class Admin(admin_pb2_grpc.AdminServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @answering
    async def Drain(self, request: admin_pb2.DrainRequest) -> admin_pb2.DrainResponse:  # noqa: N802
        return admin_pb2.DrainResponse(executing=await self._engine.drain(wait_seconds(request.timeout_seconds)))

    @answering
    async def Resume(self, request: admin_pb2.ResumeRequest) -> admin_pb2.ResumeResponse:  # noqa: N802
        self._engine.dispatcher.resume()
        return admin_pb2.ResumeResponse()
