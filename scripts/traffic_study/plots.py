"""The picture of three weeks, as a small SVG file that is the same from the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "traffic", "font.family": "sans-serif", "font.size": 9})

_WINDOWS = ("10m", "1h", "24h")


def three_weeks(path: Path, pictures: Mapping[str, Any], known: Sequence[tuple[str, str]]) -> None:
    """Rows per hour above; below, for each mode, a strip a feature and a window, coloured while it is drifted.

    The days of each pair in ``known``, the first and the last, have a grey background.
    """
    first = next(iter(pictures.values()))
    names = sorted({name for one in pictures.values() for name in one["drifted"]} - set(_WINDOWS))
    lines = [*names, *(f"any, {window}" for window in _WINDOWS)]
    figure = Figure(figsize=(9, 1.8 + 0.17 * len(lines) * len(pictures)), layout="constrained")
    ratios = [0.35 * len(lines), *[len(lines)] * len(pictures)]
    axes = figure.subplots(len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios})
    days = np.arange(len(first["rows"])) / 24
    axes[0].plot(days, first["rows"], color="0.4", lw=0.8)
    axes[0].set_ylabel("rows an hour")
    for axis, (mode, one) in zip(axes[1:], pictures.items()):
        _strips(axis, {line: one["drifted"].get(line.removeprefix("any, "), "") for line in lines})
        axis.set_title(f"drifted, {mode}", loc="left", fontsize=9)
    begin = np.datetime64(first["begin"], "D")
    for pair in known:
        left, right = ((np.datetime64(day, "D") - begin).astype(int) for day in pair)
        for axis in axes if 0 <= left <= days[-1] else ():
            axis.axvspan(left, right + 1, color="0.88", lw=0, zorder=0)
    ticks = range(0, int(days[-1]) + 2, 3)
    axes[-1].set_xticks(ticks, [(begin + day).item().strftime("%b %-d") for day in ticks])
    axes[-1].set_xlim(0, days[-1] + 1 / 24)
    _save(figure, path)


def _strips(axis: Axes, digits: Mapping[str, str]) -> None:
    for place, text in enumerate(digits.values()):
        for begin, end in _runs([digit != "0" for digit in text]):
            axis.barh(place, (end - begin) / 24, left=begin / 24, height=0.8, color="tab:red", lw=0)
    axis.set_yticks(range(len(digits)), list(digits), fontsize=7)
    axis.set_ylim(len(digits) - 0.5, -0.5)
    axis.grid(axis="x", color="0.9")


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """Begin and end of each run of true flags."""
    changes = np.flatnonzero(np.diff([False, *flags, False])).tolist()
    return list(zip(changes[::2], changes[1::2]))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
