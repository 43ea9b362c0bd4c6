"""The program `runs`. What it is made of need not be installed: the library does without."""

from __future__ import annotations

import sys

_OF_THE_EXTRA = {"typer", "click", "rich"}
_REFUSED = 2


def main() -> None:
    try:
        from runsd_client.commands import app
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        sys.stderr.write(f"runs: install `runsd-client[cli]` to use this command; {error.name} is missing\n")
        sys.exit(_REFUSED)
    app.main()


if __name__ == "__main__":
    main()
