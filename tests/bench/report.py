"""The figures for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from tests.bench.figures import Figure
from tests.bench.machine import Machine

HEADINGS = ("", "runsd", "", "baseline", "", "ratio", "of rounds", "goal", "")
_LEFT = {0, 2, 4, 7, 8}


def machine_line(machine: Machine) -> str:
    return (
        f"{machine.cores} cores, load {machine.load_average:.2f}; Python {machine.python}, grpcio {machine.grpcio}, "
        f"SQLite {machine.sqlite}; {machine.filesystem}, fsync {machine.fsync_ms:.2f} ms"
    )


def table(figures: Iterable[Figure]) -> str:
    rows = [HEADINGS, *map(_cells, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_aligned, range(len(row)), row, widths)).rstrip() for row in rows)


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column in _LEFT else cell.rjust(width)


def _cells(figure: Figure) -> tuple[str, ...]:
    goal = figure.goal
    return (
        figure.name,
        _number(figure.value),
        figure.unit,
        "" if figure.baseline is None else _number(figure.baseline),
        figure.baseline_name,
        f"{figure.ratios[1]:.2f}" if figure.ratios else "",
        f"{figure.ratios[0]:.2f}–{figure.ratios[2]:.2f}" if figure.ratios else "",
        goal.text if goal else "",
        ("met" if goal.is_met else "NOT MET") if goal else "",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def as_json(machine: Machine, figures: Iterable[Figure]) -> str:
    return json.dumps({"machine": asdict(machine), "figures": [asdict(figure) for figure in figures]}, indent=2)
