"""Prints the table of docs/seasons.md."""

from __future__ import annotations

import calendar
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from flight_seasons.seasons import Drifted, drifted, halves, known, load

DATA = Path(__file__).parents[2] / "tests" / "data" / "flights.csv.gz"


def table(found: Sequence[Drifted]) -> Table:
    """A Markdown table with one line per month."""
    made = Table(box=box.MARKDOWN)
    for heading in ("flights of", "default min_effect", "learned min_effect"):
        made.add_column(heading, no_wrap=True)
    for one in found:
        when = f"{calendar.month_name[one.month] or 'the year'} {one.year}"
        made.add_row(when, ", ".join(one.default) or "-", ", ".join(one.learned) or "-")
    return made


def main() -> int:
    training, others = halves(load(DATA))
    Console(highlight=False, width=200).print(table(drifted(known(training), others)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
