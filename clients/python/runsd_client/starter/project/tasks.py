"""Tasks as Python functions of one Context; `modules` in runs.toml names this file.

Each run of them executes in a process of its own, in this directory, with the daemon's Python. What
they print is the run's log, what they return its output, what they raise its error.
"""

import asyncio
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from runsd import Cancelled, Context, task

SUFFIXES = {".md", ".rst", ".txt"}


@task(
    description="Builds a full-text index of a folder of text and Markdown.",
    input_schema={
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {"folder": {"type": "string", "minLength": 1}},
    },
    config_schema={
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {"chunkSize": {"type": "integer", "minimum": 100, "description": "In characters."}},
    },
)
def knowledge_ingest(ctx: Context) -> dict[str, int]:
    """task:knowledge-ingest; the index is the run's artifact `knowledge.db`."""
    folder = Path((ctx.input or {}).get("folder", "docs"))
    chunk_size = int((ctx.config or {}).get("chunkSize", 1000))
    files = documents(folder)
    print(f"{len(files)} files in {folder.resolve()}")
    try:
        with TemporaryDirectory(dir=ctx.state_dir) as directory:
            database = Path(directory, "knowledge.db")
            with closing(sqlite3.connect(database)) as db:
                totals = index(ctx, db, files, folder, chunk_size)
            ctx.save_artifact("knowledge.db", database)
    except Cancelled:  # raised wherever we are, when the run is cancelled; let it go on
        print("cancelled; the unfinished index is removed")
        raise
    return totals


def documents(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder.resolve()}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise FileNotFoundError(f"{folder.resolve()} holds no files that end in {', '.join(sorted(SUFFIXES))}")
    return found


def index(ctx: Context, db: sqlite3.Connection, files: Sequence[Path], folder: Path, chunk_size: int) -> dict[str, int]:
    totals = {"files": 0, "chunks": 0, "bytes": 0, "skipped": 0}
    db.execute("CREATE VIRTUAL TABLE chunks USING fts5 (file UNINDEXED, heading, text, tokenize = 'porter')")
    for number, path in enumerate(files, 1):
        name = str(path.relative_to(folder))
        try:
            content = path.read_bytes()
            rows = [(name, heading, text) for heading, text in chunks(content.decode(), chunk_size)]
        except (OSError, UnicodeDecodeError) as error:  # one bad file shall not spoil the others
            ctx.emit("file.skipped", {"file": name, "reason": str(error)})
            totals["skipped"] += 1
            continue
        db.executemany("INSERT INTO chunks VALUES (?, ?, ?)", rows)
        totals["files"] += 1
        totals["chunks"] += len(rows)
        totals["bytes"] += len(content)
        if number * 10 // len(files) > (number - 1) * 10 // len(files):  # ten times in all
            ctx.progress(number / len(files), f"{number} of {len(files)} files")
    if not totals["files"]:
        raise ValueError(f"none of the {len(files)} files could be read as UTF-8 text; see the events")
    db.commit()
    return totals


def chunks(text: str, size: int) -> Iterator[tuple[str, str]]:
    """Paragraphs packed up to `size` characters, each pack with the Markdown heading that it is under."""
    heading = packed = ""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        begins_section = re.match(r"#{1,6} +(.+)", paragraph)
        if packed and (begins_section or len(packed) + len(paragraph) > size):
            yield heading, packed
            packed = ""
        if begins_section:
            heading = begins_section[1].strip()
        packed = f"{packed}\n\n{paragraph}" if packed else paragraph
        while len(packed) > size:
            yield heading, packed[:size]
            packed = packed[size:]
    if packed:
        yield heading, packed


@task(
    description="Counts seconds until it is done or cancelled.",
    input_schema={
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {"seconds": {"type": "integer", "minimum": 1, "maximum": 86400}},
    },
    backoff_limit=3,
)
async def countdown(ctx: Context) -> dict[str, int]:
    """task:countdown. `ctx.state_dir` is kept between attempts, so a further one goes on counting."""
    seconds = int((ctx.input or {}).get("seconds", 60))
    left = ctx.state_dir / "left"
    start = int(left.read_text() or seconds) if left.exists() else seconds
    try:
        for remaining in range(start, 0, -1):
            left.write_text(str(remaining))
            ctx.progress(1 - remaining / seconds, f"{remaining} s left")
            await asyncio.sleep(1)
    except asyncio.CancelledError:  # the same for `async def`; the daemon sent the process SIGTERM
        left.unlink()
        print(f"cancelled with {remaining} s left; cleaned up")
        raise
    return {"seconds": seconds, "attempts": ctx.attempt}
