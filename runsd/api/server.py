"""The gRPC server: services, health, reflection, and the addresses that it listens on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from runsd_client.proto import (
    admin_pb2,
    admin_pb2_grpc,
    definitions_pb2,
    definitions_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    schedules_pb2,
    schedules_pb2_grpc,
)

from runsd.api.admin import Admin
from runsd.api.definitions import Definitions
from runsd.api.runs import Runs
from runsd.api.schedules import Schedules
from runsd.engine.engine import Engine
from runsd.model.settings import ListenAddress

SERVICES = (
    runs_pb2.DESCRIPTOR.services_by_name["Runs"].full_name,
    schedules_pb2.DESCRIPTOR.services_by_name["Schedules"].full_name,
    definitions_pb2.DESCRIPTOR.services_by_name["Definitions"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name,
)
STOP_GRACE_SECONDS = 0.5

_OPTIONS = (
    # A second daemon must not share a port unnoticed.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    # A subscriber that vanished without a word is noticed, and freed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class AddressTaken(Exception):
    """Somebody listens there already, or the address cannot be used."""


class Server:
    """Bound from the start, so that its addresses are known; serves once it is given an engine."""

    def __init__(self, addresses: Sequence[ListenAddress]) -> None:
        """Raises AddressTaken."""
        self._server = grpc.aio.server(options=_OPTIONS)
        self.addresses = tuple(_bind(self._server, address) for address in addresses)
        self._health = health.aio.HealthServicer()

    async def start(self, engine: Engine) -> None:
        runs_pb2_grpc.add_RunsServicer_to_server(Runs(engine), self._server)
        schedules_pb2_grpc.add_SchedulesServicer_to_server(Schedules(engine), self._server)
        definitions_pb2_grpc.add_DefinitionsServicer_to_server(Definitions(engine), self._server)
        admin_pb2_grpc.add_AdminServicer_to_server(Admin(engine), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME),
            self._server,
        )
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(STOP_GRACE_SECONDS)


def _bind(server: grpc.aio.Server, address: ListenAddress) -> ListenAddress:
    """The address as bound, with its real port."""
    try:
        if address.socket is None:
            return ListenAddress(host=address.host, port=server.add_insecure_port(str(address)))
        _make_room(address.socket)
        with _only_for_its_owner():
            server.add_insecure_port(str(address))
        return address
    except (RuntimeError, OSError) as error:
        raise AddressTaken(f"cannot listen on {address}: {error}") from error


def _make_room(path: Path) -> None:
    """Removes a socket that nobody listens on; refuses one that somebody does."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        return
    if not path.is_socket():
        raise AddressTaken(f"{path} is there and is no socket; remove it, or give another --listen")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise AddressTaken(f"another daemon listens on {path}; stop it, or give another --listen")


@contextmanager
def _only_for_its_owner() -> Iterator[None]:
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
