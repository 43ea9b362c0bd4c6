"""What the workflows of these tests leave in the world, and what they wait for in it."""

import asyncio
from pathlib import Path
from typing import Any


def mark(file: str, text: str) -> str:
    with Path(file).open("a") as marks:
        marks.write(f"{text}\n")
    return text


async def released(file: str) -> None:
    """Until the file is there."""
    while not Path(file).exists():  # noqa: ASYNC110 - nobody in here could set an event
        await asyncio.sleep(0.005)


async def begin_and_hang(file: str, text: str) -> None:
    mark(file, text)
    await asyncio.Event().wait()


def twice(value: Any) -> Any:
    return value * 2


def fail(message: str) -> None:
    raise ValueError(message)
