"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detection_study.onset import quantile


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(delays: Sequence[int | None] | None) -> str:
    """Median, 90 % quantile, and the share that was found where that is not all."""
    if not delays:
        return "-"
    found = sum(delay is not None for delay in delays) / len(delays)
    middle, late = quantile(delays, 0.5), quantile(delays, 0.9)
    share = "" if found == 1 else f", {100 * found:.0f} %"
    return f"{_rows(middle)} ({_rows(late)}){share}" if found else "never"


def _rows(delay: float | None) -> str:
    return "never" if delay is None else f"{delay:,.0f}"
