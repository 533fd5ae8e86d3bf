"""Two pictures for the page, as small SVG files. Equal numbers give equal files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "detection", "font.family": "sans-serif", "font.size": 10})

_MARKS = ("o", "D", "s", "^", "v", "P", "X", "*")


def delays(path: Path, shifts: Sequence[str], medians: Mapping[str, Mapping[str, float | None]], horizon: int) -> None:
    """One line per shift and one mark per tool. Shifts that were not found are hollow marks at the right edge."""
    figure = Figure(figsize=(8, 0.5 * len(shifts) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for number, (name, found) in enumerate(medians.items()):
        offset = 0.5 * (number / max(len(medians) - 1, 1) - 0.5)
        known = [(i, found[shift]) for i, shift in enumerate(shifts) if found.get(shift) is not None]
        lost = [i for i, shift in enumerate(shifts) if shift in found and found[shift] is None]
        line = axes.plot([x for _, x in known], [i + offset for i, _ in known], _MARKS[number % 8], ms=6, label=name)
        axes.plot([horizon * 1.5] * len(lost), [i + offset for i in lost], line[0].get_marker(), ms=6,
                  mfc="none", mec=line[0].get_color())  # fmt: skip
    axes.set_xscale("log")
    axes.axvline(horizon, color="0.6", lw=0.8, ls="--")
    axes.set_yticks(range(len(shifts)), shifts)
    axes.invert_yaxis()
    axes.set_xlabel("rows from onset to verdict, median (hollow: not found within 20,000)")
    axes.grid(axis="x", color="0.9")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def budget(path: Path, series: Mapping[str, Mapping[str, Any]]) -> None:
    """The number of p-values below multiples of alpha, over the largest number that is expected."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    top = 1.0
    for number, (name, one) in enumerate(series.items()):
        top = max(top, *one["expected_below"])
        axes.plot(one["expected_below"], [max(n, 0.3) for n in one["below"]], _MARKS[number] + "-", label=name)
    axes.plot([0.3, top], [0.3, top], color="0.4", ls="--", lw=1, label="the most that the budget allows")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("expected at most")
    axes.set_ylabel("counted (at the bottom: none)")
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
