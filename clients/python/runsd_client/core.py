"""What the sync and the async client have in common: all but the I/O."""

from __future__ import annotations

import math
import time
from typing import Any

from runsd_client.errors import RunsError, UnreachableError
from runsd_client.retrying import OnRetry, RetryPolicy, Tries
from runsd_client.settings import resolve_settings
from runsd_client.status import error_of
from runsd_client.waiting import Waiting

DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
JUST_NOW_SECONDS = 1.0


class ClientCore:
    """Settings, retries and errors of a client.

    `address`: `unix:/path`, `/path` or `host:port`; None: RUNSD_ADDRESS, or the user's own socket.
    `token` and `project`: None: RUNSD_API_TOKEN (only with the address of the environment, too) and
    RUNSD_PROJECT. `on_retry` is told of each failure that is followed by another try, and of the
    seconds until then. Raises ConfigurationError.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        project: str | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        self._settings = resolve_settings(address, token, project)
        self._retry = RetryPolicy() if retry is None else retry
        self._on_retry = on_retry
        self._max_message_bytes = max_message_bytes
        self._closed = False
        self._answered_at = -math.inf

    @property
    def address(self) -> str:
        return self._settings.address

    def _tries(self) -> Tries:
        return Tries(self._retry, self._on_retry)

    def _wait(self, run_id: str, timeout: float | None) -> tuple[Waiting, Tries]:
        tries = self._tries()
        if is_there := time.monotonic() - self._answered_at < JUST_NOW_SECONDS:
            tries.succeeded()
        return Waiting(run_id, timeout, is_there=is_there), tries

    def _error(self, call: Any) -> RunsError:
        return self._closed_error() if self._closed else error_of(call, self.address)

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _early_end(self) -> RunsError:
        """The daemon ended a stream that has more to come; taken like a lost connection."""
        return UnreachableError(f"the daemon at {self.address} ended a stream early", self.address)

    @staticmethod
    def _closed_error() -> RunsError:
        return RunsError("the client is closed", code="CANCELLED", reason="CLIENT_CLOSED")

    def _channel_options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", self._max_message_bytes),
            # As often as servers allow unasked; more often, and they close the connection.
            ("grpc.keepalive_time_ms", 300_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # gRPC waits up to two minutes before it looks for a daemon that was away.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            # A proxy of the environment is for the web, and would see the token.
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
