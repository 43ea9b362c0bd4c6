"""`python -m tests.bench`: starts what it measures, measures, prints.

Exit status 1 when something was wrong rather than slow: a run failed, a live one was not taken up, or a
subscriber missed an event.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.machine import describe_machine
from tests.bench.peer import PeerFailed
from tests.bench.recovery import measure_recovery
from tests.bench.report import as_json, machine_line, table
from tests.bench.rows import ROWS
from tests.bench.scale import measure_scale
from tests.bench.schedules import measure_schedules
from tests.bench.server import ServerFailed
from tests.bench.sizes import DEFAULT, QUICK, Sizes
from tests.bench.stage import started_stage
from tests.bench.waiting import measure_waiting

# Each with a daemon of its own.
APART: dict[str, Callable[[Path, Sizes], Awaitable[list[Figure]]]] = {
    "waiting": measure_waiting,
    "recovery": measure_recovery,
    "schedules": measure_schedules,
}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        machine = describe_machine(directory)
        if not options.json:
            print(machine_line(machine), flush=True)
        try:
            figures = asyncio.run(_figures(options, directory))
        except (PeerFailed, ServerFailed) as error:
            sys.exit(f"bench: {error}")
    print(as_json(machine, figures) if options.json else f"\n{table(figures)}")
    sys.exit(0 if _all_well(figures) else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of the daemon and ratios.")
    parser.add_argument("--quick", action="store_true", help="short rounds and small logs: rough figures")
    names = [*ROWS, *APART]
    parser.add_argument("--only", metavar="NAME", choices=names, action="append", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--scale", action="store_true", help="instead: what must hold at size, waiting, recovery, schedules"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


async def _figures(options: argparse.Namespace, directory: Path) -> list[Figure]:
    sizes = QUICK if options.quick else DEFAULT
    if options.scale:
        return [*await measure_scale(directory), *await _measure_apart(list(APART), directory, sizes)]
    names = options.only or list(ROWS)
    figures = await _measure_rows(names, directory, sizes) if set(names) - set(APART) else []
    return [*figures, *await _measure_apart(names, directory, sizes)]


async def _measure_apart(names: list[str], directory: Path, sizes: Sizes) -> list[Figure]:
    figures: list[Figure] = []
    for name in APART:
        if name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            figures.extend(await APART[name](directory, sizes))
    return figures


async def _measure_rows(names: list[str], directory: Path, sizes: Sizes) -> list[Figure]:
    figures: list[Figure] = []
    async with started_stage(directory, sizes) as stage:
        for name in ROWS:
            if name in names:
                print(f"{name} …", file=sys.stderr, flush=True)
                figures.extend(await ROWS[name](stage))
    return figures


def _all_well(figures: list[Figure]) -> bool:
    return all(figure.goal.is_met for figure in figures if figure.goal and figure.goal.is_a_must)


if __name__ == "__main__":
    main()
