"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detection_study.onset import quantile
from detection_study.setting import HORIZON_ROWS


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(delays: Sequence[int | None] | None) -> str:
    """Median, 90 % quantile and, if it is not 100 %, the share that was found.

    Examples
    --------
    >>> cell([200, 200, 400, None]), cell([None] * 400 + [200]), cell([None])
    ('200 (never), 75 %', 'never (never), < 1 %', 'never')
    """
    if not delays:
        return "-"
    found = sum(delay is not None for delay in delays) / len(delays)
    middle, late = quantile(delays, 0.5), quantile(delays, 0.9)
    percent = "< 1" if found < 0.01 else "> 99" if found > 0.99 else f"{100 * found:.0f}"
    share = "" if found == 1 else f", {percent} %"
    return f"{_rows(middle)} ({_rows(late)}){share}" if found else "never"


def mean_cell(delays: Sequence[int | None] | None) -> str:
    """The mean delay. A shift that was not found counts as `HORIZON_ROWS`, so the mean is then a lower bound."""
    if not delays or all(delay is None for delay in delays):
        return "never" if delays else "-"
    least = "≥ " if None in delays else ""
    return f"{least}{sum(HORIZON_ROWS if delay is None else delay for delay in delays) / len(delays):,.0f}"


def _rows(delay: float | None) -> str:
    return "never" if delay is None else f"{delay:,.0f}"
