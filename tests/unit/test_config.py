from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.config import SettingsInvalid, load_settings, variables
from runsd.model.settings import ListenAddress, LogLevel, Settings

HOME = {"XDG_STATE_HOME": "/home/me/state", "XDG_RUNTIME_DIR": "/run/me"}


def load(file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    return load_settings(file, {**HOME, **(environ or {})}, overrides)


def problems(file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object) -> list[str]:
    with pytest.raises(SettingsInvalid) as raised:
        load(file, environ, **overrides)
    return [str(problem) for problem in raised.value.problems]


def written(directory: Path, text: str) -> Path:
    file = directory / "runsd.toml"
    file.write_text(text)
    return file


def test_defaults() -> None:
    settings = load()
    assert settings.state_dir == Path("/home/me/state/runsd")
    assert [str(address) for address in settings.listen] == ["unix:/run/me/runsd/runsd.sock"]
    assert (settings.projects, settings.limits.max_running, settings.retry.jitter) == ((), 64, 0.2)


def test_state_home_defaults_to_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load(environ={"XDG_STATE_HOME": ""}).state_dir == Path("/home/me/.local/state/runsd")


def test_the_command_line_wins_over_variables_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[limits]\nmax_running = 1\npayload_bytes = 2048\noutput_bytes = 4096")
    environ = {"RUNSD_LIMITS_MAX_RUNNING": "2", "RUNSD_LIMITS_PAYLOAD_BYTES": "3000"}
    settings = load_settings(file, {**HOME, **environ}, {"limits.max_running": 3, "limits.event_bytes": None})
    limits = settings.limits
    assert (limits.max_running, limits.payload_bytes, limits.output_bytes) == (3, 3000, 4096)
    assert limits.event_bytes == 256 * 1024


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, 'state_dir = "state"\nprojects = ["a", "/b"]')
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/me")
    assert load(file).state_dir == tmp_path / "state"
    assert load(file).projects == (tmp_path / "a", Path("/b"))
    assert load(environ={"RUNSD_PROJECTS": "a:~/b"}).projects == (Path("/a"), Path("/home/me/b"))
    assert load(state_dir=Path("here")).state_dir == Path("/here")


def test_variables_are_read_by_the_setting_s_type() -> None:
    settings = load(
        environ={
            "RUNSD_LISTEN": "127.0.0.1:0, unix:/s",
            "RUNSD_RETRY_MULTIPLIER": "1.5",
            "RUNSD_CANCEL_GRACE_SECONDS": "3",
            "RUNSD_LOG_LEVEL": "debug",
            "RUNSD_LOG_FORMAT": "",
        }
    )
    assert [str(address) for address in settings.listen] == ["127.0.0.1:0", "unix:/s"]
    assert (settings.retry.multiplier, settings.cancel.grace_seconds) == (1.5, 3.0)
    assert settings.log_level is LogLevel.DEBUG


def test_every_setting_has_a_variable() -> None:
    assert variables()["RUNSD_LIMITS_LOGS_TAIL_BYTES"] == "limits.logs_tail_bytes"
    assert {"RUNSD_STATE_DIR", "RUNSD_LISTEN", "RUNSD_PROJECTS", "RUNSD_LOG_FORMAT"} <= variables().keys()


def test_all_problems_of_all_origins_are_reported(tmp_path: Path) -> None:
    file = written(tmp_path, 'stat_dir = "x"\nlimits = {max_running = 0}\nlisten = ["0.0.0.0:80"]')
    environ = {
        "RUNSD_LIMITS_MAX_RUNING": "1",
        "RUNSD_RETRY_JITTER": "lots",
        "RUNSD_PROJECT": "of the contract",
    }
    found = problems(file, environ, log_level="loud")
    assert found == [
        f"{file}: stat_dir: unknown key; did you mean state_dir?",
        f"{file}: listen[0]: '0.0.0.0' is refused: only loopback until tokens and TLS are there; "
        "write unix:/path, 127.0.0.1:PORT, [::1]:PORT or localhost:PORT",
        f"{file}: limits.max_running: expected an integer from 1 to 10000, found the integer 0",
        "environment: RUNSD_LIMITS_MAX_RUNING: unknown variable; did you mean RUNSD_LIMITS_MAX_RUNNING?",
        "environment: RUNSD_RETRY_JITTER: expected a number from 0 to 1, found the string 'lots'",
        "command line: log_level: expected one of 'debug', 'info', 'warning', 'error', found the string 'loud'",
    ]


def test_a_wrong_value_is_reported_even_where_another_wins(tmp_path: Path) -> None:
    file = written(tmp_path, 'log_level = "loud"')
    (problem,) = problems(file, log_level="info")
    assert problem.startswith(f"{file}: log_level: ")


def test_a_dotted_key_in_quotes_is_no_setting(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, '"limits.max_running" = 5'))
    assert '"limits.max_running": unknown key' in problem


def test_an_index_stays_with_the_variable_s_name() -> None:
    (problem,) = problems(environ={"RUNSD_LISTEN": "unix:/s,nonsense"})
    assert problem.startswith("environment: RUNSD_LISTEN[1]: 'nonsense' is no listen address")


def test_what_concerns_two_settings() -> None:
    assert "retry.max_delay_seconds" in problems(environ={"RUNSD_RETRY_MAX_DELAY_SECONDS": "0.5"})[0]
    assert "at least one address" in problems(listen=[])[0]


def test_a_default_that_cannot_be_used_says_what_to_set() -> None:
    (problem,) = problems(environ={"RUNSD_ADDRESS": "example.com:80"})
    assert problem.startswith("environment: RUNSD_LISTEN: is not set, and the default cannot be used: 'example.com'")
    assert load(environ={"RUNSD_ADDRESS": "example.com:80", "RUNSD_LISTEN": "/s"}).listen == (
        ListenAddress(socket=Path("/s")),
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path / "none")[0].endswith("none: cannot be read: No such file or directory")
    (problem,) = problems(written(tmp_path, "a = 1\nb =?"))
    assert "is not TOML: Invalid value (at line 2, column 4)" in problem


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:///run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:/run/x.sock"),
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("[::1]:0", "[::1]:0"),
        ("localhost:65535", "localhost:65535"),
    ],
)
def test_listen_addresses(text: str, target: str) -> None:
    assert str(ListenAddress.parse(text)) == target


@pytest.mark.parametrize(
    "text",
    ["", "x", "127.0.0.1", "127.0.0.1:", ":80", "::1:80", "[127.0.0.1]:80", "127.0.0.1:65536", "127.0.0.1:٣",
     "0.0.0.0:1", "[::]:1", "example.com:1", "unix:rel", "unix:", "unix:/" + "x" * 107, "/a\0b",
     "unix-abstract:x"],
)  # fmt: skip
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unix|refused"):
        ListenAddress.parse(text)


@given(st.text() | st.from_regex(r"(unix:/.{0,9}|\[::1\]:\d{1,6}|127\.0\.\d\.\d:\d{1,6})", fullmatch=True))
def test_parsing_an_address_s_target_gives_it_back(text: str) -> None:
    try:
        address = ListenAddress.parse(text)
    except ValueError:
        return
    assert ListenAddress.parse(str(address)) == address


def test_directories_of_a_systemd_unit_are_the_defaults(tmp_path: Path) -> None:
    unit = {
        "STATE_DIRECTORY": "/var/lib/runsd:/var/lib/second",
        "RUNTIME_DIRECTORY": "/run/runsd",
        "CONFIGURATION_DIRECTORY": str(tmp_path),
    }
    settings = load(environ=unit)
    assert settings.state_dir == Path("/var/lib/runsd")
    assert [str(address) for address in settings.listen] == ["unix:/run/runsd/runsd.sock"]
    file = written(tmp_path, 'state_dir = "/srv/runsd"\n[limits]\nmax_running = 3\n')
    settings = load(environ=unit)
    assert (settings.state_dir, settings.limits.max_running) == (Path("/srv/runsd"), 3)
    file.write_text("limits = 3\n")
    assert any(problem.startswith(str(file)) for problem in problems(environ=unit))
    other = tmp_path / "other.toml"
    other.write_text("")
    assert load(other, environ=unit).state_dir == Path("/var/lib/runsd")
