"""Snapshots as an HTML page: one table of features per model, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

from torchserve_drift.checks.catalogue import HEADLINES
from torchserve_drift.port.page.style import STYLE
from torchserve_drift.port.snapshot import Snapshot

_TIME_VARIATION = {"learned": "learned from the training data", "unknown": "unknown: rows are taken to be independent"}

_REFRESH = '<meta http-equiv="refresh" content="30">\n'
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>torchserve-drift</h1>
{body}
</body>
</html>
"""


def page(snapshots: Iterable[Snapshot]) -> bytes:
    """The page of all models, in UTF-8. Everything that comes from a snapshot is escaped."""
    models = sorted(snapshots, key=lambda snapshot: (snapshot["model_name"], snapshot["model_version"]))
    body = "".join(map(_model_section, models)) or "<p>No model with drift monitoring has started yet.</p>"
    drifted = sum(state(snapshot) == "drifted" for snapshot in models)
    title = f"{drifted} of {len(models)} models drifted" if drifted else "no drift" if models else "no models"
    return _PAGE.format(title=title, style=STYLE, body=body, refresh=_REFRESH).encode("utf-8", "replace")


def report_page(report: Mapping[str, Any]) -> str:
    """The page of one report (`Report.to_dict`), for an offline check; it does not refresh itself."""
    name, version = _escaped(report["model_name"]), _escaped(report["model_version"])
    facts = f"baseline {_escaped(str(report['baseline_sha256'])[:12])} · evaluated {_utc_time(report['evaluated_at'])}"
    body = (
        f"<section><h2>{name} <small>{version}</small></h2>\n<p class=soft>{facts}</p>\n{_tables(report)}</section>\n"
    )
    return _PAGE.format(title=f"{name} {version}", style=STYLE, body=body, refresh="")


def state(snapshot: Snapshot) -> str:
    """The model's state over all its windows: drifted, ok, too_few_rows, or starting before the first evaluation."""
    if snapshot["report"] is None:
        return "starting"
    states = {window["state"] for window in snapshot["report"]["windows"].values()}
    return next((known for known in ("drifted", "ok") if known in states), "too_few_rows")


def _model_section(snapshot: Snapshot) -> str:
    report: Mapping[str, Any] = snapshot["report"] or {"windows": {}, "features": []}
    name, version = _escaped(snapshot["model_name"]), _escaped(snapshot["model_version"])
    return (
        f"<section><h2>{name} <small>{version}</small> {_badge(state(snapshot))}</h2>\n"
        f"<p class=soft>{_model_facts(snapshot)}</p>\n{_tables(report)}</section>\n"
    )


def _model_facts(snapshot: Snapshot) -> str:
    """The line below a model's name. Counts of rejected rows and errors are left out if they are 0."""
    baseline = snapshot["baseline"]
    facts = [
        f"{snapshot['rows_total']:,} rows observed",
        f"baseline {str(baseline['sha256'])[:12]} of {baseline['rows']:,} rows, {baseline['created']}",
        f"variation over time {_TIME_VARIATION.get(baseline['time_variation'], 'unknown')}",
        f"evaluated {_utc_time(snapshot['last_evaluation_timestamp_seconds'])}",
        *(f"{count:,} rows rejected: {reason}" for reason, count in snapshot["rows_rejected"].items() if count),
        *(f"{count:,} errors: {stage}" for stage, count in snapshot["errors"].items() if count),
    ]
    return " · ".join(map(_escaped, facts))


def _tables(report: Mapping[str, Any]) -> str:
    windows = list(report["windows"])
    features = sorted(report["features"], key=lambda feature: -feature["importance"])
    return _table(
        ["window", "state", "rows", "sample rows", "score"],
        [_window_row(label, report["windows"][label]) for label in windows],
    ) + _table(
        ["feature", "importance", *[f"window {label}" for label in windows], "drifted since"],
        [_feature_row(feature, windows) for feature in features],
    )


def _window_row(label: str, window: Mapping[str, Any]) -> str:
    return (
        f"<tr><td>{_escaped(label)}</td><td>{_badge(window['state'])}</td><td class=number>{window['rows']:,}</td>"
        f"<td class=number>{window['sample_rows']:,}</td>"
        f"<td class=number>{_three_digits(window['score'])}</td></tr>\n"
    )


def _feature_row(feature: Mapping[str, Any], windows: Sequence[str]) -> str:
    results = [feature["windows"].get(label, {"drifted": False, "since": None, "checks": {}}) for label in windows]
    since = [result["since"] for result in results if result["since"] is not None]
    mark = " class=drifted" if any(result["drifted"] for result in results) else ""
    return (
        f"<tr{mark}><td class=name>{_escaped(feature['name'])}</td>"
        f"<td class=number>{_three_digits(feature['importance'])}</td>"
        + "".join(f"<td>{_result_lines(result)}</td>" for result in results)
        + f"<td>{_utc_time(min(since)) if since else ''}</td></tr>\n"
    )


def _result_lines(result: Mapping[str, Any]) -> str:
    """One feature in one window: verdict, headline checks, the pair of features (joint only), failed checks."""
    checks = result["checks"]
    lines = [_badge("drifted")] if result["drifted"] else []
    for name in HEADLINES:
        if name in checks and checks[name]["p_value"] is not None:
            p_value, effect = (_three_digits(checks[name][key]) for key in ("p_value", "effect"))
            lines.append(f"{name} p&nbsp;{p_value}, effect&nbsp;{effect}")
    if result.get("pair"):
        lines.append("<span class=soft>" + " × ".join(map(_escaped, result["pair"])) + "</span>")
    failed = [_escaped(name) for name, check in checks.items() if check["failed"]]
    if failed:
        lines.append("<span class=soft>failed: " + ", ".join(failed) + "</span>")
    return "<br>".join(lines) or "<span class=soft>–</span>"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_escaped(text)}</th>" for text in heads)
    return f"<div class=scroll><table><tr>{head}</tr>\n{''.join(rows)}</table></div>\n"


def _badge(name: str) -> str:
    return f'<span class="state {_escaped(name)}">{_escaped(name.replace("_", " "))}</span>'


def _three_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _utc_time(seconds: float) -> str:
    if not 0 < seconds < 1e11:  # later times have no four-digit year
        return "not yet"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _escaped(value: object) -> str:
    return escape(str(value))
