"""What `runs signal`, `runs approve` and `runs reject` refuse by themselves."""

from __future__ import annotations

import pytest
from runsd_client.commands.app import app
from typer.testing import CliRunner


@pytest.mark.parametrize(("command", "option"), [("signal", "--payload"), ("approve", "--data"), ("reject", "--data")])
def test_deep_json_is_refused(command: str, option: str) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    result = CliRunner().invoke(app, [command, "run-1", "name", option, "-"], input=deep)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert option in result.stderr and "nested too deeply" in result.stderr and "Traceback" not in result.stderr
