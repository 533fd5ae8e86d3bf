"""Snapshots as a page to look at: one table of features per model, no scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

from torchserve_drift.port.snapshot import Snapshot

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #888; --bad: #c62828; --good: #2e7d32; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.1rem; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.4rem; margin: 2.2rem 0 .3rem; overflow-wrap: anywhere; }
h2 small, .soft { color: var(--soft); font-weight: 400; }
p { margin: .2rem 0 .8rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1.2rem; min-width: 24rem; }
th, td { text-align: left; padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
td.name { overflow-wrap: anywhere; max-width: 22rem; }
.state { border-radius: .7rem; padding: .05rem .6rem; font-size: .85rem; color: #fff; background: var(--soft);
  vertical-align: middle; white-space: nowrap; }
.state.ok { background: var(--good); }
.state.drifted { background: var(--bad); }
tr.drifted td.name { border-left: .25rem solid var(--bad); padding-left: .5rem; }
"""
STYLE_SOURCE = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What a content security policy must allow for the page's style."""

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
    """The whole page, UTF-8; everything that comes from a snapshot is escaped."""
    models = sorted(snapshots, key=lambda snapshot: (snapshot["model_name"], snapshot["model_version"]))
    body = "".join(map(_model, models)) or "<p>No model with drift monitoring has started yet.</p>"
    drifted = sum(state(snapshot) == "drifted" for snapshot in models)
    title = f"{drifted} of {len(models)} models drifted" if drifted else "no drift" if models else "no models"
    return _PAGE.format(title=title, style=STYLE, body=body, refresh=_REFRESH).encode("utf-8", "replace")


def report_page(report: Mapping[str, Any]) -> str:
    """The page of one report (`Report.to_dict`), as an offline check has it."""
    name, version = _text(report["model_name"]), _text(report["model_version"])
    facts = f"baseline {_text(str(report['baseline_sha256'])[:12])} · evaluated {_time(report['evaluated_at'])}"
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


def _model(snapshot: Snapshot) -> str:
    report: Mapping[str, Any] = snapshot["report"] or {"windows": {}, "features": []}
    name, version = _text(snapshot["model_name"]), _text(snapshot["model_version"])
    return (
        f"<section><h2>{name} <small>{version}</small> {_badge(state(snapshot))}</h2>\n"
        f"<p class=soft>{_facts(snapshot)}</p>\n{_tables(report)}</section>\n"
    )


def _tables(report: Mapping[str, Any]) -> str:
    windows = list(report["windows"])
    features = sorted(report["features"], key=lambda feature: -feature["importance"])
    return _table(
        ["window", "state", "rows", "in its sample", "score"],
        [_window_row(label, report["windows"][label]) for label in windows],
    ) + _table(
        ["feature", "importance", *[f"in {label}" for label in windows], "drifted since"],
        [_feature_row(feature, windows) for feature in features],
    )


def _facts(snapshot: Snapshot) -> str:
    baseline = snapshot["baseline"]
    facts = [
        f"{snapshot['rows_total']:,} rows observed",
        f"baseline {str(baseline['sha256'])[:12]} of {baseline['rows']:,} rows, {baseline['created']}",
        f"evaluated {_time(snapshot['last_evaluation_timestamp_seconds'])}",
        *(f"{number:,} rows rejected: {reason}" for reason, number in snapshot["rows_rejected"].items() if number),
        *(f"{number:,} faults: {stage}" for stage, number in snapshot["errors"].items() if number),
    ]
    return " · ".join(map(_text, facts))


def _window_row(label: str, window: Mapping[str, Any]) -> str:
    return (
        f"<tr><td>{_text(label)}</td><td>{_badge(window['state'])}</td><td class=number>{window['rows']:,}</td>"
        f"<td class=number>{window['sample_rows']:,}</td><td class=number>{_number(window['score'])}</td></tr>\n"
    )


def _feature_row(feature: Mapping[str, Any], windows: Sequence[str]) -> str:
    found = [feature["windows"].get(label, {"drifted": False, "since": None, "checks": {}}) for label in windows]
    since = [window["since"] for window in found if window["since"] is not None]
    mark = " class=drifted" if any(window["drifted"] for window in found) else ""
    return (
        f"<tr{mark}><td class=name>{_text(feature['name'])}</td>"
        f"<td class=number>{_number(feature['importance'])}</td>"
        + "".join(f"<td>{_found(window)}</td>" for window in found)
        + f"<td>{_time(min(since)) if since else ''}</td></tr>\n"
    )


def _found(window: Mapping[str, Any]) -> str:
    checks = window["checks"]
    parts = [_badge("drifted")] if window["drifted"] else []
    for name in ("ks", "chi2", "joint"):
        if name in checks and checks[name]["p_value"] is not None:
            parts.append(
                f"{name} p&nbsp;{_number(checks[name]['p_value'])}, effect&nbsp;{_number(checks[name]['effect'])}"
            )
    if window.get("pair"):
        parts.append("<span class=soft>" + " × ".join(map(_text, window["pair"])) + "</span>")
    failed = [_text(name) for name, check in checks.items() if check["failed"]]
    if failed:
        parts.append("<span class=soft>failed: " + ", ".join(failed) + "</span>")
    return "<br>".join(parts) or "<span class=soft>–</span>"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{_text(text)}</th>" for text in heads)
    return f"<div class=scroll><table><tr>{head}</tr>\n{''.join(rows)}</table></div>\n"


def _badge(name: str) -> str:
    return f'<span class="state {_text(name)}">{_text(name.replace("_", " "))}</span>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _time(seconds: float) -> str:
    if not 0 < seconds < 1e11:
        return "not yet"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _text(value: object) -> str:
    return escape(str(value))
