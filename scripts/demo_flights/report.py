"""Tables of the metrics' values."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from demo_flights.series import Series, only


def drifted(series: Series, window: str) -> set[str]:
    """The features that drifted in ``window``."""
    return {labels["feature"] for labels, value in series.get("feature_drifted", window=window) if value == 1}


def show(console: Console, series: Series, window: str, title: str, caption: str) -> None:
    """A table with one line for each feature, the most important first."""
    p_values = series.get("p_value", window=window)
    tests = {
        labels["feature"]: (labels["check"], p) for labels, p in p_values if labels["check"] in ("ks", "chi2", "joint")
    }
    effects = {(labels["feature"], labels["check"]): value for labels, value in series.get("effect", window=window)}
    failed = series.get("check_failed", window=window)
    flagged = drifted(series, window)
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", title_style="bold")
    for column in ("feature", "test"):
        table.add_column(column)
    for column in ("p-value", "effect", "importance"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    importances = {labels["feature"]: value for labels, value in series.get("feature_importance")}
    for name in sorted(importances.keys() | tests.keys(), key=lambda name: -importances.get(name, 0)):
        test, p_value = tests.get(name, ("", None))
        checks = sorted(found["check"] for found, value in failed if found["feature"] == name and value == 1)
        table.add_row(
            name,
            test,
            "" if p_value is None else f"{p_value:.2g}" if p_value > 1e-300 else "<1e-300",
            f"{effects[name, test]:.3f}" if (name, test) in effects else "",
            f"{importances[name]:.3f}" if name in importances else "",
            f"[bold red]DRIFTED[/] ({', '.join(checks)})" if name in flagged else "ok",
        )
    console.print(table)
    score = only(series, "score", window=window)
    rows = only(series, "window_rows", window=window)
    console.print(f"{len(flagged)} features drifted; score {score or 0:.2f}; {rows or 0:.0f} rows in the window\n")
