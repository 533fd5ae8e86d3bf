"""`torchserve-drift show`: print the contents of a baseline."""

from __future__ import annotations

import json
import sys
from typing import Any, Optional

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LISTED_CATEGORIES = 10
"""Categories of a feature that the table names; the others are only counted."""

_TABLE_LEVELS = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
"""Levels of the quantiles in the table; JSON has all of them."""

_BARS = "▁▂▃▄▅▆▇█"


@click.command("show")
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print everything but the samples as JSON.")
def command(*, file: str, as_json: bool) -> None:
    """Show the contents of the baseline in FILE."""
    from torchserve_drift.baseline.baseline import Baseline

    content = Baseline.load(file).to_dict()
    if as_json:
        click.echo(json.dumps(content))
        return
    # a pipe has no width: this is wide enough for the tables, so that no name is cut
    console = Console(width=None if sys.stdout.isatty() else 240, highlight=False)
    console.print(_overview_table(content))
    numeric = [feature for feature in content["features"] if feature["kind"] == "numeric"]
    categorical = [feature for feature in content["features"] if feature["kind"] == "categorical"]
    if numeric:
        console.print(_numeric_table(numeric))
    if categorical:
        console.print(_categorical_table(categorical))
    if content["spans"]:
        console.print(_tolerance_table(content["features"]))
        console.print(f"tolerance of the joint distribution: {_rounded(content['joint']['tolerance'], 3)}")
    if all("time" in feature for feature in content["features"]):
        console.print(_time_table(content["features"]))


def printable(text: str) -> Text:
    """``text`` with control characters escaped, so that a terminal does not obey them, and without markup.

    Examples
    --------
    >>> printable("a[red]\\x1b[2J\\n").plain
    'a[red]\\\\x1b[2J\\\\n'
    """
    characters = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return Text("".join(characters), overflow="fold")


def _overview_table(content: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("rows", "sample_rows", "spans", "created", "seed", "sha256"):
        value = content[name]
        text = f"{value:,}" if name.endswith("rows") else str(value)
        table.add_row(name.replace("_", " "), Text(text, overflow="fold"))
    return table


def _numeric_table(features: list[dict[str, Any]]) -> Table:
    table = Table(title="numeric", title_justify="left")
    table.add_column("name", overflow="fold")
    for heading in ("count", "missing", "invalid", "mean", "std", "min", *_TABLE_LEVELS, "max", "importance"):
        table.add_column(heading, justify="right")
    for feature in features:
        numbers = [feature[key] for key in ("mean", "std", "minimum")]
        numbers += [feature["quantiles"][level] for level in _TABLE_LEVELS] + [feature["maximum"]]
        table.add_row(
            printable(feature["name"]),
            *(f"{feature[key]:,}" for key in ("count", "missing", "invalid")),
            *map(_rounded, numbers),
            _rounded(feature["importance"]),
        )
    return table


def _categorical_table(features: list[dict[str, Any]]) -> Table:
    table = Table(title="categorical", title_justify="left")
    table.add_column("name", overflow="fold")
    for heading in ("count", "missing"):
        table.add_column(heading, justify="right")
    table.add_column("categories", overflow="fold")
    table.add_column("importance", justify="right")
    for feature in features:
        table.add_row(
            printable(feature["name"]),
            f"{feature['count']:,}",
            f"{feature['missing']:,}",
            printable(_listed(feature["categories"])),
            _rounded(feature["importance"]),
        )
    return table


def _tolerance_table(features: list[dict[str, Any]]) -> Table:
    table = Table(title="tolerance: the largest effect in a span of training time", title_justify="left")
    table.add_column("name", overflow="fold")
    checks = list(dict.fromkeys(check for feature in features for check in feature["tolerance"]))
    for check in checks:
        table.add_column(check, justify="right")
    for feature in features:
        cells = (_rounded(feature["tolerance"].get(check), 3) for check in checks)
        table.add_row(printable(feature["name"]), *cells)
    return table


def _time_table(features: list[dict[str, Any]]) -> Table:
    title = "time: correlation within windows, and the mean at each hour of the day (UTC)"
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold")
    table.add_column("channel", overflow="fold")
    for length in features[0]["time"]["summary"]["correlation"]:
        table.add_column(length, justify="right")
    for heading in ("0h to 23h", "lowest", "highest"):
        table.add_column(heading)
    for feature in features:
        summary = feature["time"]["summary"]
        means = summary["hours_of_day"]
        table.add_row(
            printable(feature["name"]),
            printable(summary["channel"]),
            *(_rounded(correlation, 2) for correlation in summary["correlation"].values()),
            _sparkline(means),
            *(_rounded(end, 3) for end in (min(means), max(means))),
        )
    return table


def _sparkline(values: list[float]) -> str:
    """
    Examples
    --------
    >>> _sparkline([0.0, 0.5, 1.0, 0.2])
    '▁▅█▂'
    >>> _sparkline([1.0, 1.0])
    '▁▁'
    """
    low, width = min(values), max(values) - min(values)
    return "".join(_BARS[round((value - low) / width * (len(_BARS) - 1)) if width else 0] for value in values)


def _listed(categories: list[dict[str, Any]]) -> str:
    parts = [f"{entry['category']} {entry['share']:.1%}" for entry in categories[:_LISTED_CATEGORIES]]
    if len(categories) > _LISTED_CATEGORIES:
        parts.append(f"{len(categories) - _LISTED_CATEGORIES:,} more")
    return ", ".join(parts)


def _rounded(number: Optional[float], digits: int = 6) -> str:
    return "-" if number is None else f"{number:.{digits}g}"
