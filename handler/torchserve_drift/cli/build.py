"""`torchserve-drift baseline`: build a baseline from training data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import click

from torchserve_drift.training.progress import Progress


@click.command("baseline")
@click.argument("source")
@click.option("-o", "--output", required=True, metavar="FILE", help="File to write the baseline to.")
@click.option("--label", metavar="COL", help="Column that the model predicts; it is not a feature.")
@click.option("--exclude", metavar="COL", multiple=True, help="Another column that is not a feature. Repeatable.")
@click.option("--categorical", metavar="COL", multiple=True, help="Column of numbers that are categories. Repeatable.")
@click.option("--rows", default=10_000, show_default=True, help="Number of rows in the sample, 1 to 32000.")
@click.option("--seed", default=0, show_default=True, help="Random seed for drawing the sample.")
@click.option(
    "--importance",
    metavar="FILE.json",
    help='JSON file with the weight of each feature, such as {"age": 3}; by default all are equal.',
)
@click.option(
    "--time",
    metavar="COL",
    multiple=True,
    help="Column of numbers or times that orders the rows; it is not a feature. Repeatable: a second column orders "
    "rows that are equal in the first.",
)
@click.option(
    "--spans", default=12, show_default=True, help="Number of equal spans into which --time divides the rows, 2 to 100."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    *,
    source: str,
    output: str,
    label: Optional[str],
    exclude: tuple[str, ...],
    categorical: tuple[str, ...],
    rows: int,
    seed: int,
    importance: Optional[str],
    time: tuple[str, ...],
    spans: int,
    as_json: bool,
) -> None:
    """Build a baseline from the training data in SOURCE.

    SOURCE is a csv, csv.gz or parquet file, a folder or a quoted glob of them. Columns of numbers are numeric features;
    columns of text, booleans and dictionary-encoded columns are categorical features. A CSV file begins with a line of
    column names. Its empty cells are missing values; in columns of numbers, NA, N/A, NULL, None and NaN are too.
    """
    from torchserve_drift.baseline.summary import overview
    from torchserve_drift.training.build import build
    from torchserve_drift.training.importance import read_importance

    weights = None if importance is None else read_importance(importance)
    with _progress() as progress:
        baseline = build(
            source,
            label=label,
            exclude=exclude,
            categorical=categorical,
            rows=rows,
            seed=seed,
            importance=weights,
            time=time,
            spans=spans,
            progress=progress,
        ).save(output)
    facts = overview(baseline)
    if as_json:
        click.echo(json.dumps({"file": output, **facts}))
    else:
        spans_of_time = f", {facts['spans']} spans of time" if facts["spans"] else ""
        spans_of_time += ", time profiles" if baseline.has_time_profiles else ""
        click.echo(
            f"{output}: {facts['numeric']} numeric and {facts['categorical']} categorical features of "
            f"{facts['rows']:,} rows, a sample of {facts['sample_rows']:,}{spans_of_time}, sha256 {facts['sha256']}"
        )


@contextmanager
def _progress() -> Iterator[Progress]:
    # in a log or a pipe, bars that move would be noise: only remarks are printed there
    if not sys.stderr.isatty():
        yield _print_remark
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("reading", total=None)

        def show(step: str, done: int, total: int) -> None:
            if total:
                bars.update(bar, description=step, completed=done, total=total)
            else:
                bars.console.print(step, highlight=False, markup=False)

        yield show


def _print_remark(step: str, _done: int, total: int) -> None:
    if not total:
        click.echo(step, err=True)
