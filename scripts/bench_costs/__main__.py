"""Prints all tables; `--quick` takes fewer rounds and rows."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from bench_costs import evaluate, memory, observe, time_profiles


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Measures what monitoring costs, compared with plain copies and SciPy."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a million rows instead of ten")
    parser.add_argument("--json", action="store_true", help="the tables as JSON")
    arguments = parser.parse_args()
    quick = arguments.quick
    tables = {
        "Request path, microseconds a batch (medians)": observe.measure(9 if quick else 41),
        "One evaluation, milliseconds (window 4,096 rows, baseline 10,000; medians)": evaluate.measure(
            3 if quick else 9
        ),
        "One evaluation with time profiles, milliseconds (three windows, 4,096 rows; medians)": time_profiles.measure(
            9 if quick else 41
        ),
        "Memory of one worker's windows, default settings": memory.sizes(),
        "Resident memory over a run, 20 features": memory.growth(1_000_000 if quick else 10_000_000),
    }
    if arguments.json:
        print(json.dumps(tables, indent=2))
        return
    console = Console(width=120)
    for title, rows in tables.items():
        table = Table(title=title, title_justify="left")
        for heading in rows[0]:
            table.add_column(heading, justify="right")
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print(table)


if __name__ == "__main__":
    main()
