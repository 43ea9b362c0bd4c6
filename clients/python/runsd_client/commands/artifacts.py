"""`runs artifacts`: the files that a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.formats import show_artifacts
from runsd_client.commands.terminal import Screen


def artifacts(
    run_id: options.RunId,
    download: Annotated[
        Path | None, typer.Option("--download", metavar="DIR", help="Write them into this directory.")
    ] = None,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data}")] = False,
) -> None:
    """List or download the files that a run left.

    A downloaded file appears only when it is whole and its SHA-256 is the recorded one.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        found = client.artifacts(run_id)
        if download is not None:
            download.mkdir(parents=True, exist_ok=True)
            for artifact in found:
                client.download_artifact(run_id, artifact.name, download)
    if as_json:
        screen.json({"data": [artifact.to_dict() for artifact in found]})
    else:
        show_artifacts(screen, found)
