"""What `runsd verify` prints: every violation as it is found, notes, and at last what was looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import typer

from runsd.engine.verification import Note, verify
from runsd.store.migrations import StoreTooNew
from runsd.store.verification import Counts, NotVerifiable, Violation

__all__ = ["NotVerifiable", "StoreTooNew", "verify_and_print"]


def verify_and_print(directory: Path, *, deep: bool, as_json: bool) -> bool:
    """True when nothing is violated. Raises NotVerifiable, StoreTooNew."""
    counts = Counts()
    findings = verify(directory, counts, deep=deep)
    return _print_json(findings, counts) if as_json else _print_lines(findings, counts)


def _print_lines(findings: Iterator[Violation | Note], counts: Counts) -> bool:
    violations = 0
    for finding in findings:
        violations += isinstance(finding, Violation)
        typer.echo(f"{'violation' if isinstance(finding, Violation) else 'note'}: {finding}")
    for name, count in _flat(counts):
        typer.echo(f"{name:<20} {count:>14,}")
    typer.echo(f"{'violations':<20} {violations:>14,}")
    return violations == 0


def _flat(counts: Counts) -> Iterator[tuple[str, int]]:
    yield "runs", counts.runs.total()
    for status, count in sorted(counts.runs.items()):
        yield f"  {status}", count
    for name in (f.name for f in fields(counts) if f.name != "runs"):
        yield name.replace("_", " "), getattr(counts, name)


def _nested(counts: Counts) -> dict[str, object]:
    return {f.name: getattr(counts, f.name) for f in fields(counts)}


def _print_json(findings: Iterator[Violation | Note], counts: Counts) -> bool:
    found = list(findings)
    violations = [asdict(finding) for finding in found if isinstance(finding, Violation)]
    notes = [asdict(finding) for finding in found if isinstance(finding, Note)]
    told = {"sound": not violations, "counts": _nested(counts), "violations": violations, "notes": notes}
    typer.echo(json.dumps(told, indent=2))
    return not violations
