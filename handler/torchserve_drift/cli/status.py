"""`torchserve-drift status`: the current verdicts of a running TorchServe, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, build_opener

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchserve_drift.checks.catalogue import HEADLINES
from torchserve_drift.errors import DriftError

_TIMEOUT_SECONDS = 10.0
_LONGEST_ANSWER_BYTES = 64 * 2**20
_STYLES = {"drifted": "bold red", "ok": "green", "too_few_rows": "dim"}


@click.command("status")
@click.argument("url", default="http://127.0.0.1:8083")
@click.option("--json", "as_json", is_flag=True, help="Print the reports of all models as one JSON list.")
def command(url: str, as_json: bool) -> None:
    """Show the verdicts of all models that the metrics port at URL serves."""
    reports = fetch_reports(url)
    if as_json:
        click.echo(json.dumps(reports, indent=2))
        return
    console = Console()
    for report in reports:
        console.print(_heading(report))
        if report["windows"]:
            console.print(_table(report))
    if not reports:
        console.print("No model with drift monitoring has started yet.")


def fetch_reports(url: str) -> list[dict[str, Any]]:
    """The reports of all models that a metrics port serves.

    Raises
    ------
    DriftError
        When ``url`` is not an HTTP address, nothing answers there, or another program than the metrics port answers.
    """
    base = url.rstrip("/")
    if urlsplit(base).scheme not in ("http", "https"):
        raise DriftError(f"URL must start with http:// or https://, got {url!r}")
    models_url = f"{base}/api/v1/models"
    try:
        models = _fetch_json(models_url)
        if not isinstance(models, list):
            raise TypeError
        return [
            _fetch_json(f"{models_url}/{_url_segment(model['model_name'])}/{_url_segment(model['model_version'])}")
            for model in models
        ]
    except HTTPError as error:
        error.close()
        raise DriftError(f"no reports from {base}: {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise DriftError(f"no answer from {base}: {getattr(error, 'reason', error)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DriftError(f"{base} must be the metrics port of torchserve-drift, got another answer") from error


def _url_segment(name: str) -> str:
    return quote(name, safe="", errors="replace")


def _fetch_json(url: str) -> Any:
    # without the proxies of the environment: the port is on this host or in this network
    with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_SECONDS) as answer:
        return json.loads(answer.read(_LONGEST_ANSWER_BYTES))


def _heading(report: Mapping[str, Any]) -> Text:
    heading = Text(f"{_printable(report['model_name'])} {_printable(report['model_version'])}", style="bold")
    if report["evaluated_at"] is None:
        return heading.append("  not evaluated yet", style="dim")
    return heading.append(f"  evaluated {_utc_time(report['evaluated_at'])}", style="dim")


def _table(report: Mapping[str, Any]) -> Table:
    table = Table("feature", "importance")
    for label in report["windows"]:
        table.add_column(Text(_printable(label)))
    table.add_column("drifted since")
    windows = report["windows"].values()
    table.add_row("rows", "", *[f"{window['rows']:,}" for window in windows], "")
    table.add_row("state", "", *[_state(window["state"]) for window in windows], "")
    table.add_row("score", "", *[f"{window['score']:.3g}" for window in windows], "", end_section=True)
    for feature in sorted(report["features"], key=lambda feature: -feature["importance"]):
        results = [feature["windows"].get(label, {}) for label in report["windows"]]
        since = [result["since"] for result in results if result.get("since") is not None]
        table.add_row(
            Text(_printable(feature["name"])),
            f"{feature['importance']:.3g}",
            *map(_verdict, results),
            _utc_time(min(since)) if since else "",
        )
    return table


def _verdict(result: Mapping[str, Any]) -> Text:
    """One feature in one window: whether it drifted, the p-value of its headline check, and the failed checks."""
    checks = result.get("checks", {})
    p_values = [
        f"{name} p={checks[name]['p_value']:.2g}"
        for name in HEADLINES
        if name in checks and checks[name]["p_value"] is not None
    ]
    failed = ", ".join(_printable(name) for name, check in checks.items() if check["failed"])
    text = Text("drifted " if result.get("drifted") else "", style=_STYLES["drifted"])
    return text.append(" ".join(p_values), style="default").append(f" ({failed})" if failed else "", style="default")


def _state(state: str) -> Text:
    return Text(_printable(state).replace("_", " "), style=_STYLES.get(state, ""))


def _utc_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def _printable(text: object) -> str:
    """The text with U+FFFD in place of characters that could control the terminal."""
    return "".join(character if character.isprintable() else "�" for character in str(text))
