"""The daemon's settings, as values. Where they come from is `runsd.config`'s to know."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

from runsd.model.tables import Range

MIB = 1024 * 1024
_MAX_SOCKET_PATH_BYTES = 107
_FORMS = "write unix:/path, 127.0.0.1:PORT, [::1]:PORT or localhost:PORT"

Seconds = Annotated[float, Range(0, 7 * 24 * 3600)]


class LogFormat(Enum):
    """`auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class OnStop(Enum):
    """What becomes of runs that execute when the daemon is stopped: they go on, or are cancelled."""

    LEAVE = "leave"
    CANCEL = "cancel"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A unix socket, or a port of this machine's loopback (0: any free one). `str` is its gRPC target."""

    socket: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Raises ValueError saying what would be right."""
        if text.startswith(("unix:", "/")):
            return cls(socket=_socket_path(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not colon or not _is_port(port):
            raise ValueError(f"{text!r} is no listen address; {_FORMS}")
        if not _is_loopback(host):
            raise ValueError(f"{host!r} is refused: only loopback until tokens and TLS are there; {_FORMS}")
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket is not None else f"{self.host}:{self.port}"


def _socket_path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"the path of a unix socket must be absolute, unlike {text!r}")
    path = Path("/" + text.lstrip("/"))
    if len(str(path).encode("utf-8", "surrogateescape")) > _MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"{str(path)!r} is too long for a unix socket; Linux takes {_MAX_SOCKET_PATH_BYTES} bytes")
    return path


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return False
    return address.is_loopback and bracketed == (address.version == 6)


@dataclass(frozen=True, slots=True)
class Limits:
    """`payload_bytes` bounds a run's input and config, each; `output_bytes` what one attempt may write."""

    max_running: Annotated[int, Range(1, 10_000)] = 64
    payload_bytes: Annotated[int, Range(1024, MIB)] = MIB
    event_bytes: Annotated[int, Range(1024, 16 * MIB)] = 256 * 1024
    logs_tail_bytes: Annotated[int, Range(0, 16 * MIB)] = 64 * 1024
    output_bytes: Annotated[int, Range(1024, 2**50)] = 1024 * MIB


@dataclass(frozen=True, slots=True)
class CancelSettings:
    """`grace_seconds` is the time from SIGTERM to SIGKILL."""

    grace_seconds: Seconds = 10.0


class Backoff(Enum):
    """How the wait grows from retry to retry."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The wait before retry n: `initial * multiplier**(n-1)`, at most `max`, give or take `jitter` of it.

    With linear backoff it is `initial * n`, with fixed backoff `initial`.
    """

    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay_seconds: Seconds = 1.0
    multiplier: Annotated[float, Range(1, 100)] = 2.0
    max_delay_seconds: Seconds = 300.0
    jitter: Annotated[float, Range(0, 1)] = 0.2


@dataclass(frozen=True, slots=True)
class Settings:
    """All paths are absolute."""

    state_dir: Path
    listen: tuple[ListenAddress, ...]
    projects: tuple[Path, ...] = ()
    log_format: LogFormat = LogFormat.AUTO
    log_level: LogLevel = LogLevel.INFO
    on_stop: OnStop = OnStop.LEAVE
    limits: Limits = field(default_factory=Limits)
    cancel: CancelSettings = field(default_factory=CancelSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
