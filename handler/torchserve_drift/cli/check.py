"""`torchserve-drift check`: the checks of the server, on a file of production rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Optional

import click

from torchserve_drift.errors import ConfigError
from torchserve_drift.verdicts.report import FeatureReport, Report


@click.command("check")
@click.argument("baseline")
@click.argument("current")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
    help="Format of the report.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.option(
    "--config-file", help="model-config.yaml whose section drift: holds the settings; otherwise the defaults."
)
def command(baseline: str, current: str, form: str, as_json: bool, config_file: Optional[str]) -> int:
    """Compare the rows of CURRENT with BASELINE.

    CURRENT is a csv, csv.gz or parquet file, or a folder or quoted glob of them. The exit code is 0 without drift, 1
    with drift and 2 after an error.
    """
    from torchserve_drift.baseline.baseline import Baseline
    from torchserve_drift.offline.check import check

    report = check(Baseline.load(baseline), current, _drift_section(config_file))
    renderers: dict[str, Callable[[Report], str]] = {"table": _as_table, "json": _as_json, "html": _as_html}
    render = renderers["json" if as_json else form]
    click.echo(render(report), nl=False)
    return 1 if report.drifted else 0


def _drift_section(config_file: Optional[str]) -> Any:
    if config_file is None:
        return None
    import yaml

    try:
        whole = yaml.safe_load(Path(config_file).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config_file!r} must be YAML: {error}") from None
    if whole is not None and not isinstance(whole, dict):
        raise ConfigError(f"{config_file!r} must be a mapping, got {type(whole).__name__}")
    return (whole or {}).get("drift")


def _as_json(report: Report) -> str:
    return json.dumps(report.to_dict(), indent=2) + "\n"


def _as_table(report: Report) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    window = report.windows["all"]
    table = Table(title=f"{window.rows} rows: {window.state.replace('_', ' ')}", box=box.SIMPLE, title_justify="left")
    for heading in ("feature", "importance", "verdict", "p-value", "effect", "failed checks"):
        table.add_column(heading, justify="right" if heading in ("importance", "p-value", "effect") else "left")
    for feature in report.features:
        table.add_row(*(Text(cell) for cell in _row_cells(feature)))
    # a pipe has no width; 120 columns hold the usual table
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _row_cells(feature: FeatureReport) -> tuple[str, ...]:
    found = feature.windows["all"]
    main = next((found.checks[name] for name in ("ks", "chi2", "joint") if name in found.checks), None)
    failed = [name for name, check in found.checks.items() if check.failed]
    if found.pair and "joint" in failed:
        failed.append(" and ".join(map(repr, found.pair)))
    if "new_category" in failed and feature.unseen:
        shown = [f"{category!r} {share:.1%}" for category, share in list(feature.unseen.items())[:5]]
        failed.append("unseen: " + ", ".join(shown))
    p_value = "-" if main is None or main.p_value is None else f"{main.p_value:.2g}"
    effect = "-" if main is None else f"{main.effect:.3f}"
    # names come from the baseline, and a terminal would obey control characters in them
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in feature.name)
    return name, f"{feature.importance:.3f}", "drifted" if found.drifted else "ok", p_value, effect, "; ".join(failed)


def _as_html(report: Report) -> str:
    from torchserve_drift.port.page.page import report_page

    return report_page(report.to_dict())
