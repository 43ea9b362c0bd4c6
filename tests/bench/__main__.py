"""`python -m tests.bench`: starts what it measures, measures, prints.

Exit status 1 when something was wrong rather than slow: a run failed, or a subscriber missed an event.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.machine import describe_machine
from tests.bench.peer import PeerFailed
from tests.bench.report import as_json, machine_line, table
from tests.bench.rows import ROWS
from tests.bench.scale import measure_scale
from tests.bench.server import ServerFailed
from tests.bench.sizes import DEFAULT, QUICK, Sizes
from tests.bench.stage import started_stage


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
    sys.exit(1 if options.scale and not _all_met(figures) else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Figures of the daemon and ratios.")
    parser.add_argument("--quick", action="store_true", help="short rounds and small logs: rough figures")
    parser.add_argument("--only", metavar="NAME", choices=ROWS, action="append", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--scale", action="store_true", help="instead: many subscribers, a long queue, memory")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


async def _figures(options: argparse.Namespace, directory: Path) -> list[Figure]:
    if options.scale:
        return await measure_scale(directory)
    return await _measure_rows(options.only or list(ROWS), directory, QUICK if options.quick else DEFAULT)


async def _measure_rows(names: list[str], directory: Path, sizes: Sizes) -> list[Figure]:
    figures: list[Figure] = []
    async with started_stage(directory, sizes) as stage:
        for name in ROWS:
            if name in names:
                print(f"{name} …", file=sys.stderr, flush=True)
                figures.extend(await ROWS[name](stage))
    return figures


def _all_met(figures: list[Figure]) -> bool:
    return all(figure.goal.is_met for figure in figures if figure.goal)


if __name__ == "__main__":
    main()
