from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runsd.cli import app
from runsd.unit_files import CannotInstall, UnitFile, Written, unit_file


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the interpreter is, and a command `runsd` beside it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    command(directory)
    monkeypatch.setattr(sys, "executable", str(directory / "python3"))
    return directory


def command(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "runsd").touch(mode=0o755)


@pytest.mark.parametrize("user", [False, True])
def test_names_the_command_of_this_installation(bin_directory: Path, user: bool) -> None:
    text = unit_file(user=user, environ={}).text
    assert [line for line in text.splitlines() if "ExecStart" in line] == [f"ExecStart={bin_directory}/runsd serve"]
    assert ("WantedBy=default.target" if user else "WantedBy=multi-user.target") in text


def test_command_elsewhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    with pytest.raises(CannotInstall, match=f"no command `runsd` in /nowhere or {tmp_path}/scripts"):
        unit_file(user=False, environ={})
    command(tmp_path / "scripts")
    assert f"ExecStart={tmp_path}/scripts/runsd serve" in unit_file(user=False, environ={}).text


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("two words", '"{}/two words/runsd"'), ("100%", '"{}/100%%/runsd"'), ('a"b\\c', '"{}/a\\"b\\\\c/runsd"')],
)
def test_odd_paths_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, quoted: str) -> None:
    command(tmp_path / name)
    monkeypatch.setattr(sys, "executable", str(tmp_path / name / "python3"))
    assert f"ExecStart={quoted.format(tmp_path)} serve\n" in unit_file(user=False, environ={}).text


def test_place_of_a_users_unit(bin_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for config_home in ("", "relative"):
        unit = unit_file(user=True, environ={"XDG_CONFIG_HOME": config_home})
        assert unit.path == Path("/home/me/.config/systemd/user/runsd.service")
    assert unit_file(user=True, environ={"XDG_CONFIG_HOME": "/c"}).path == Path("/c/systemd/user/runsd.service")


def test_what_somebody_changed_is_kept(tmp_path: Path) -> None:
    unit = UnitFile(tmp_path / "systemd/user/runsd.service", "[Service]\n")
    assert unit.write(force=False) is Written.NEW
    assert unit.write(force=False) is Written.UNCHANGED
    unit.path.write_text("[Service]\nNice=5\n")
    with pytest.raises(CannotInstall, match="differs; --force replaces it"):
        unit.write(force=False)
    assert unit.path.read_text() == "[Service]\nNice=5\n"
    assert unit.write(force=True) is Written.REPLACED
    assert unit.path.read_text() == "[Service]\n"
    assert list(unit.path.parent.iterdir()) == [unit.path]


def test_command_line(bin_directory: Path, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    run = CliRunner().invoke
    printed = run(app, ["install-unit", "--user", "--print"], env=environ)
    assert (printed.exit_code, (tmp_path / "config").exists()) == (0, False)
    written = run(app, ["install-unit", "--user"], env=environ)
    unit = tmp_path / "config/systemd/user/runsd.service"
    assert (written.exit_code, unit.read_text()) == (0, printed.output)
    assert f"wrote {unit}" in written.output and "systemctl --user enable --now runsd" in written.output
    unit.write_text("changed")
    refused = run(app, ["install-unit", "--user"], env=environ)
    assert (refused.exit_code, unit.read_text()) == (1, "changed")
    assert "--force" in refused.output
