"""`python -m tests.torture --cycles N --seed S`: kills a loaded daemon N times, and proves it lost nothing.

Exit status 1 if anything is violated; the directory is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.torture.harness import torture
from tests.torture.report import report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--cycles", type=int, default=25, help="how often the daemon is killed (25)")
    parser.add_argument("--seed", type=int, default=None, help="of the load and the kills (random)")
    parser.add_argument("--keep", action="store_true", help="keep the directory in any case")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="runsd-torture-"))
    print(f"seed {seed}, {options.cycles} cycles, in {directory}", flush=True)
    verdict = asyncio.run(torture(directory, options.cycles, seed))
    print(report(verdict))
    if verdict.violations or options.keep:
        print(f"kept: {directory}")
    else:
        shutil.rmtree(directory)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
