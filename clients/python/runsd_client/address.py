"""Where the daemon is: one rule, which the daemon itself uses too.

An address is `unix:/path`, an absolute path, or `host:port`; here it always leaves as the first or
the last of these.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runsd_client.errors import ConfigurationError

_MAX_SOCKET_PATH_BYTES = 107


def default_address(environ: Mapping[str, str] | None = None) -> str:
    """`RUNSD_ADDRESS`, else the user's own socket. Raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    if address := environ.get("RUNSD_ADDRESS"):
        return parse_address(address)
    if runtime_directory := environ.get("XDG_RUNTIME_DIR"):
        return parse_address(f"unix:{runtime_directory}/runsd/runsd.sock")
    directory = Path(f"/tmp/runsd-{os.getuid()}")
    _refuse_strangers(directory)
    return parse_address(f"unix:{directory}/runsd.sock")


def parse_address(text: str) -> str:
    """`unix:/path` or `host:port`. Raises ConfigurationError that says what an address looks like."""
    if text.startswith("/"):
        return _socket_address(text, text)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        return _socket_address(text, path)
    host, colon, port = text.rpartition(":")
    if not colon or not _is_host(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _wrong(text, "an address is unix:/path, /path or host:port")
    return text


def socket_path(address: str) -> Path | None:
    """The socket's path, or None where the address is `host:port`."""
    return Path(address.removeprefix("unix:")) if address.startswith("unix:") else None


def _socket_address(text: str, path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise _wrong(text, "the path of a socket must be absolute")
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH_BYTES:
        raise _wrong(text, f"the path of a socket may have {_MAX_SOCKET_PATH_BYTES} bytes")
    return f"unix:{path}"


def _is_host(host: str) -> bool:
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(host) and host.isprintable() and not set(host) & set(" /") and (bracketed or ":" not in host)


def _wrong(text: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r} is not an address: {rule}", code="INVALID_ARGUMENT", reason="ADDRESS")


def _refuse_strangers(directory: Path) -> None:
    """Anybody may create a directory in /tmp, and listen there for what is meant for our daemon."""
    try:
        owner = directory.lstat()
    except FileNotFoundError:
        return
    if owner.st_uid != os.getuid() or directory.is_symlink():
        raise ConfigurationError(
            f"{directory} is not a directory of this user; set RUNSD_ADDRESS or XDG_RUNTIME_DIR",
            code="PERMISSION_DENIED",
            reason="ADDRESS",
        )
