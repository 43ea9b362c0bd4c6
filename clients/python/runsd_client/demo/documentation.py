"""Documentation to index that is on every machine: that of the installed Python, as Markdown files."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Mapping
from pathlib import Path

QUESTION = "iterator"


def write_documentation(directory: Path) -> None:
    """Makes the directory, and a file in it for each topic."""
    directory.mkdir()
    for name, text in (_language_reference() or _docstrings()).items():
        (directory / f"{name}.md").write_text(f"# {name}\n\n{text}\n", encoding="utf-8")


def _language_reference() -> Mapping[str, str]:
    """What `help("with")` shows; some distributions of Python leave it out."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return {}
    return topics


def _docstrings() -> Mapping[str, str]:
    named = {name: inspect.getdoc(value) for name, value in vars(builtins).items() if callable(value)}
    return {name: text for name, text in named.items() if text}
