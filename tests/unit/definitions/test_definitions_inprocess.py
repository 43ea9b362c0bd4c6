import asyncio
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from runsd.definitions.inprocess import CallableUnavailable, forget_modules, load_callable
from runsd.model.targets import PythonCallable


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


def project(directory: Path, **modules: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name, code in modules.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(code))
    return directory


def test_a_callable_is_imported_with_its_siblings(tmp_path: Path) -> None:
    one = project(tmp_path / "one", rtasks="import rsibling\ndef work(): return rsibling.VALUE", rsibling="VALUE = 1")
    assert load_callable(one, PythonCallable("rtasks", "work"))() == 1


def test_forgetting_gives_new_code_and_leaves_the_old_working(tmp_path: Path) -> None:
    one = project(tmp_path / "one", rtasks="def work(): return 1")
    old = load_callable(one, PythonCallable("rtasks", "work"))
    project(one, rtasks="def work(): return 'new'")
    assert load_callable(one, PythonCallable("rtasks", "work")) is old
    forget_modules(one)
    assert load_callable(one, PythonCallable("rtasks", "work"))() == "new"
    assert old() == 1


def test_forgetting_spares_runsd_and_environments_inside_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def module(name: str, file: str) -> ModuleType:
        made = ModuleType(name)
        made.__file__ = str(tmp_path / file)
        return made

    files = {
        "runsd.config": "runsd/config.py",
        "numpy": ".venv/lib/python3.11/site-packages/numpy/__init__.py",
        "__main__": "start.py",
        "mine": "mine.py",
        "package.inner": "package/inner.py",
    }
    loaded = {name: module(name, file) for name, file in files.items()}
    monkeypatch.setattr(sys, "modules", {**loaded, "builtins": sys})
    forget_modules(tmp_path)
    left = list(sys.modules)
    monkeypatch.undo()
    assert left == ["runsd.config", "numpy", "__main__", "builtins"]


@pytest.mark.parametrize("name", ["json", "pytest", "this"])
def test_names_of_others_are_refused(tmp_path: Path, name: str) -> None:
    one = project(tmp_path / "one", **{name: "def work(): ..."})
    with pytest.raises(CallableUnavailable, match=rf"the name '{name}' is taken in the daemon by .*; rename"):
        load_callable(one, PythonCallable(name, "work"))


def test_modules_of_another_project_are_refused(tmp_path: Path) -> None:
    one = project(tmp_path / "one", rtasks="def work(): return 1")
    two = project(tmp_path / "two", rtasks="def work(): return 2")
    load_callable(one, PythonCallable("rtasks", "work"))
    with pytest.raises(CallableUnavailable, match=r"'rtasks' is taken in the daemon by .*one/rtasks.py"):
        load_callable(two, PythonCallable("rtasks", "work"))
    forget_modules(one)
    assert load_callable(two, PythonCallable("rtasks", "work"))() == 2


@pytest.mark.parametrize("code", ["import rsibling", "from rsibling import helper"])
def test_siblings_of_another_project_are_refused(tmp_path: Path, code: str) -> None:
    sibling = "def helper(): ..."
    one = project(tmp_path / "one", rone="import rsibling\ndef work(): ...", rsibling=sibling)
    two = project(tmp_path / "two", rtwo=f"{code}\ndef work(): ...", rsibling=sibling)
    load_callable(one, PythonCallable("rone", "work"))
    for _ in range(2):
        with pytest.raises(
            CallableUnavailable, match="module 'rtwo' uses 'rsibling', but the name 'rsibling' is taken"
        ):
            load_callable(two, PythonCallable("rtwo", "work"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(3)", "module 'rtasks' cannot be imported: SystemExit: 3 (.*rtasks.py, line 1)"),
        ("x = (", "module 'rtasks' cannot be imported: SyntaxError: .*line 1"),
        ("import rabsent", "ModuleNotFoundError: No module named 'rabsent'"),
        ("class Odd(BaseException): ...\nraise Odd", "cannot be imported: Odd"),
        ("", "module 'rtasks' has no 'work'"),
        ("work = 1", "rtasks:work is int, not a callable"),
    ],
)
def test_whatever_a_module_raises_is_told(tmp_path: Path, code: str, message: str) -> None:
    one = project(tmp_path / "one", rtasks=code)
    with pytest.raises(CallableUnavailable, match=message):
        load_callable(one, PythonCallable("rtasks", "work"))


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CallableUnavailable, match="there is no module 'rabsent'"):
        load_callable(tmp_path, PythonCallable("rabsent", "work"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_interruption_of_the_daemon_goes_on(tmp_path: Path, error: type[BaseException]) -> None:
    code = f"import asyncio\nfrom asyncio import CancelledError\nraise {error.__name__}"
    one = project(tmp_path / "one", rtasks=code)
    with pytest.raises(error):
        load_callable(one, PythonCallable("rtasks", "work"))
