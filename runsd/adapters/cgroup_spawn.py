"""Starts a process inside a control group, where the C library can: glibc since 2.39.

To move a process there the kernel waits until every processor has seen it, some 10 ms; to be born there
costs nothing. Python's posix_spawn does not offer it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

# <spawn.h>. The structures are opaque: more room than they take on any machine.
_SETSIGDEF, _SETSIGMASK, _SETSID, _SETCGROUP = 0x04, 0x08, 0x80, 0x100
_ROOM = 1024
_libc = ctypes.CDLL(None)


def can_spawn_into() -> bool:
    return hasattr(_libc, "posix_spawnattr_setcgroup_np")


def spawn_into(
    cgroup: Path, program: str, argv: Sequence[str], env: Mapping[str, str], default_signals: Collection[int]
) -> int:
    """The pid of a leader of a session, whose standard streams are empty. Raises OSError."""
    attributes, streams = _attributes(tuple(default_signals)), _empty_streams()
    pid = ctypes.c_int()
    descriptor = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _call("posix_spawnattr_setcgroup_np", attributes, descriptor)
        variables = [f"{name}={value}" for name, value in env.items()]
        path = os.fsencode(program)
        _call("posix_spawn", ctypes.byref(pid), path, streams, attributes, _strings(argv), _strings(variables))
    finally:
        os.close(descriptor)
    return pid.value


@cache
def _attributes(default_signals: tuple[int, ...]) -> ctypes.Array[ctypes.c_char]:
    attributes, none, defaults = (ctypes.create_string_buffer(_ROOM) for _ in range(3))
    _libc.sigemptyset(none)
    _libc.sigemptyset(defaults)
    for number in default_signals:
        _libc.sigaddset(defaults, int(number))
    _call("posix_spawnattr_init", attributes)
    _call("posix_spawnattr_setsigmask", attributes, none)
    _call("posix_spawnattr_setsigdefault", attributes, defaults)
    _call("posix_spawnattr_setflags", attributes, ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID | _SETCGROUP))
    return attributes


@cache
def _empty_streams() -> ctypes.Array[ctypes.c_char]:
    actions = ctypes.create_string_buffer(_ROOM)
    _call("posix_spawn_file_actions_init", actions)
    for stream, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        _call("posix_spawn_file_actions_addopen", actions, stream, os.fsencode(os.devnull), mode, 0)
    return actions


def _strings(values: Sequence[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [os.fsencode(value) for value in values]
    if any(b"\0" in value for value in encoded):
        raise ValueError("embedded null byte")
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)


def _call(name: str, *arguments: object) -> None:
    if number := getattr(_libc, name)(*arguments):
        raise OSError(number, os.strerror(number))
