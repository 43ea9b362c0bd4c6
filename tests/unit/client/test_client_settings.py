"""Addresses and what comes from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import runsd_client.address
from runsd_client import ConfigurationError
from runsd_client.address import default_address, parse_address, socket_path
from runsd_client.settings import resolve_settings

ENVIRON = {
    "RUNSD_ADDRESS": "unix:/run/x.sock",
    "RUNSD_API_TOKEN": "secret",
    "RUNSD_PROJECT": "p",
    "RUNSD_RUN_ID": "r1",
}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("/run/a.sock", "unix:/run/a.sock"),
        ("localhost:7777", "localhost:7777"),
        ("[::1]:7777", "[::1]:7777"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "localhost:", ":80", "a:b", "a:99999", "unix:a.sock", "a/b", "::1:80", "http://a:80"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        parse_address(text)


def test_a_socket_path_that_the_kernel_would_refuse() -> None:
    with pytest.raises(ConfigurationError, match="107 bytes"):
        parse_address("/" + "a" * 107)


def test_socket_path() -> None:
    assert socket_path("unix:/run/a.sock") == Path("/run/a.sock")
    assert socket_path("localhost:1") is None


def test_the_default_address() -> None:
    assert default_address({"RUNSD_ADDRESS": "/a.sock", "XDG_RUNTIME_DIR": "/run/user/1"}) == "unix:/a.sock"
    assert default_address({"XDG_RUNTIME_DIR": "/run/user/1"}) == "unix:/run/user/1/runsd/runsd.sock"


def test_without_a_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert default_address({}) == "unix:/tmp/runsd-4000000/runsd.sock"


def test_a_directory_that_somebody_else_made_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / f"runsd-{os.getuid()}").symlink_to("/")
    monkeypatch.setattr(runsd_client.address, "Path", lambda text: tmp_path / Path(text).name)
    with pytest.raises(ConfigurationError, match="not a directory of this user"):
        default_address({})


def test_all_comes_from_the_environment() -> None:
    settings = resolve_settings(environ=ENVIRON)
    assert settings.address == "unix:/run/x.sock"
    assert settings.call_metadata == (("authorization", "Bearer secret"),)
    assert (settings.project, settings.parent_run_id) == ("p", "r1")


def test_a_token_of_the_environment_goes_to_no_other_daemon() -> None:
    settings = resolve_settings("localhost:1", environ=ENVIRON)
    assert settings.call_metadata == ()
    assert settings.parent_run_id == ""
    assert resolve_settings("localhost:1", token="t", environ=ENVIRON).token == "t"


def test_what_is_given_comes_first() -> None:
    settings = resolve_settings(token="", project="q", environ=ENVIRON)
    assert (settings.token, settings.project) == ("", "q")
    assert settings.project_or_default(None) == "q"
    assert settings.project_or_default("") == ""


def test_a_token_is_neither_shown_nor_sent_broken() -> None:
    assert "secret" not in repr(resolve_settings(environ=ENVIRON))
    with pytest.raises(ConfigurationError, match="RUNSD_API_TOKEN") as caught:
        resolve_settings(environ={**ENVIRON, "RUNSD_API_TOKEN": "hush\n"})
    assert "hush" not in str(caught.value)
