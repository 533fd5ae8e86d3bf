"""`torchserve-drift baseline`: training data to a baseline."""

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
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write the baseline.")
@click.option("--label", metavar="COL", help="The column that the model predicts: no feature.")
@click.option("--exclude", metavar="COL", multiple=True, help="A further column that is no feature; repeatable.")
@click.option(
    "--categorical", metavar="COL", multiple=True, help="A column of numbers that are categories; repeatable."
)
@click.option("--rows", default=10_000, show_default=True, help="Rows of the sample, 1 to 32000.")
@click.option("--seed", default=0, show_default=True, help="Of the sample.")
@click.option("--importance", metavar="FILE.json", help='Weight by feature, such as {"age": 3}; otherwise all alike.')
@click.option(
    "--time",
    metavar="COL",
    multiple=True,
    help="A column, no feature, of numbers or times that order the rows; a second one orders those alike in the first.",
)
@click.option("--spans", default=12, show_default=True, help="Of equal numbers of rows, in that order; 2 to 100.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
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

    SOURCE is a csv, csv.gz or parquet file, a folder or a quoted glob of them. Numbers are numeric features; text,
    booleans and dictionary-encoded columns are categorical. A CSV file begins with a line of column names, and its
    empty cells are missing values; so are NA, N/A, NULL, None and NaN in columns of numbers.
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
        click.echo(
            f"{output}: {facts['numeric']} numeric and {facts['categorical']} categorical features of "
            f"{facts['rows']:,} rows, a sample of {facts['sample_rows']:,}{spans_of_time}, sha256 {facts['sha256']}"
        )


@contextmanager
def _progress() -> Iterator[Optional[Progress]]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("reading", total=None)
        yield lambda step, done, total: bars.update(bar, description=step, completed=done, total=total)
