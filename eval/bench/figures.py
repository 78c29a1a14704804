"""What a benchmark reports, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

WIDTH = 150  # where there is no terminal to ask


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        baseline: the same work done without Kustos, measured in the same run and in the same unit; None without one.
        ratio: value over baseline.
        goal: what the value, or the ratio where there is a baseline, has to reach, in words; None for a figure that
            only explains another.
        met: whether it does; None without a goal.
    """

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None


def plain(name: str, value: float, unit: str) -> Figure:
    """A figure without baseline and goal."""
    return Figure(name, round(value, 3), unit)


def at_most(name: str, value: float, unit: str, baseline: float, goal: float) -> Figure:
    """A figure whose ratio to the baseline must not exceed `goal`."""
    ratio = value / baseline
    return Figure(name, round(value, 3), unit, round(baseline, 3), round(ratio, 3), f"ratio <= {goal}", ratio <= goal)


def at_least(name: str, value: float, unit: str, baseline: float, goal: float) -> Figure:
    """A figure whose ratio to the baseline must reach `goal`."""
    ratio = value / baseline
    return Figure(name, round(value, 3), unit, round(baseline, 3), round(ratio, 3), f"ratio >= {goal}", ratio >= goal)


def compared(name: str, value: float, unit: str, baseline: float) -> Figure:
    """A figure with a baseline and no goal."""
    return Figure(name, round(value, 3), unit, round(baseline, 3), round(value / baseline, 3))


def within(name: str, value: float, unit: str, goal: float) -> Figure:
    """A figure that must not exceed `goal`."""
    return Figure(name, round(value, 3), unit, goal=f"<= {goal:g}", met=value <= goal)


def exactly(name: str, value: float, unit: str, goal: float) -> Figure:
    """A figure that must be `goal`."""
    return Figure(name, value, unit, goal=f"= {goal:g}", met=value == goal)


def percentile(values: Sequence[float], percent: float) -> float:
    """By linear interpolation between the two nearest values."""
    return float(np.percentile(values, percent))


def write(figures: Iterable[Figure], path: Path) -> None:
    """The figures as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n", encoding="utf-8")


def show(figures: Iterable[Figure]) -> None:
    """The figures as a table on stdout."""
    table = Table(title="Benchmarks", title_justify="left", header_style="bold")
    table.add_column("figure")
    for column in ("value", "unit", "baseline", "ratio", "goal", "met"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in figures:
        table.add_row(
            each.name,
            f"{each.value:,g}",
            each.unit,
            "" if each.baseline is None else f"{each.baseline:,g}",
            "" if each.ratio is None else f"{each.ratio:.3f}",
            each.goal or "",
            {True: "yes", False: "[bold red]no[/]", None: ""}[each.met],
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table)
