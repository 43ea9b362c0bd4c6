"""What is told of an exception from task code: the error of the run, and the traceback for its log.

Frames of runsd and of the import machinery that come before the user's own are left out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

MAX_MESSAGE_LENGTH = 2_000
MAX_TRACEBACK_LENGTH = 32_000

_SDK = __file__.rpartition("/")[0]
_RUNSD = _SDK.rpartition("/")[0]
_MACHINERY = ("<frozen ", f"{_SDK}/", f"{_RUNSD}/adapters/", f"{_RUNSD}/engine/")


def summary(error: BaseException) -> str:
    """`ValueError: what was wrong`, in a bounded length."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - somebody else's __str__ may do anything
        text = "(its message cannot be shown)"
    whole = f"{name}: {text}" if text else name
    if isinstance(error, BaseExceptionGroup):
        # Its own words tell only how many there were.
        whole = f"{whole}: {summary(error.exceptions[0])}"
    return printable(whole if len(whole) <= MAX_MESSAGE_LENGTH else whole[:MAX_MESSAGE_LENGTH] + " …")


def qualified_type(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def user_traceback(error: BaseException) -> str:
    """As Python prints it, from the first frame of user code on; the end is kept when it is long."""
    from traceback import format_exception

    text = "".join(format_exception(type(error), error, _user_frames(error.__traceback__)))
    return printable(text if len(text) <= MAX_TRACEBACK_LENGTH else "… " + text[-MAX_TRACEBACK_LENGTH:])


def describe(error: BaseException) -> dict[str, Any]:
    """`{"message", "code", "detail": {"type", "traceback"}}`, as a failed run shows it."""
    detail = {"type": qualified_type(error), "traceback": user_traceback(error)}
    return {"message": summary(error), "code": "exception", "detail": detail}


def location(error: BaseException, directory: str) -> tuple[str, int]:
    """File and line to blame: the innermost frame inside `directory`; `("", 0)` when there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    found = ("", 0)
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file.startswith(directory.rstrip("/") + "/"):
            found = (file, frames.tb_lineno)
        frames = frames.tb_next
    return found


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and _is_machinery(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def _is_machinery(file: str) -> bool:
    return file.startswith(_MACHINERY) or file.endswith("/importlib/__init__.py") or "/asyncio/" in file


def printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
