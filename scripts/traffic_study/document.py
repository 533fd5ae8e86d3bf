"""docs/traffic.md and its picture, from results.json; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from traffic_study import strips
from traffic_study.clock_errors import HOURS_AHEAD
from traffic_study.data_sets import DATA_SETS
from traffic_study.outages import KNOWN
from traffic_study.peers import BATCHES, TOOLS
from traffic_study.power import FAULTS, TRIALS
from traffic_study.synthetic import STREAMS

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
WINDOWS = ("10m", "1h", "24h")
MODES = ("before", "after")

Results = Mapping[str, Any]


def page(results: Results) -> str:
    """The text of docs/traffic.md."""
    return (
        (HERE / "template.md")
        .read_text()
        .format(
            data=_data(results),
            false_alarms=_false_alarms(results, DATA_SETS),
            thinned=_thinned(),
            by_feature=_counts(results, "by_feature"),
            by_check=_counts(results, "by_check"),
            fine=_fine(results),
            known=_known(results),
            streams=_false_alarms(results, STREAMS),
            trials=TRIALS,
            power=_power(results),
            clock=_clock(results),
            peers=_peers(results),
        )
    )


def write(results: Results, docs: Path = DOCS) -> None:
    """The page and its picture below ``docs``."""
    from traffic_study import plots  # matplotlib is in the study's own environment only

    (docs / "traffic.md").write_text(page(results))
    steps = zip(MODES, ("picture_before", "picture"))
    pictures = {mode: results[step][strips.SET] for mode, step in steps if step in results}
    if pictures:
        plots.three_weeks(
            docs / "detection" / "traffic.svg", pictures, [(one.begin, one.end) for one in KNOWN[strips.SET]]
        )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a sentence where it would have no rows."""
    rows = list(rows)
    if not rows:
        return "Not measured yet."
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, ["---"] * len(headings), *rows])


def _data(results: Results) -> str:
    return table(
        ["set", "kind", "package", "its licence", "production replayed"],
        ([one.name, one.kind, one.package.source, one.package.licence, _replayed(results, one.name)]
         for one in DATA_SETS.values()),
    )  # fmt: skip


def _replayed(results: Results, name: str) -> str:
    found = [(mode, results[mode][name]) for mode in MODES if name in results.get(mode, {})]
    return "; ".join(f"{mode}: {one['days']:,.0f} days, {one['rows']:,} rows" for mode, one in found) or "-"


def _false_alarms(results: Results, names: Iterable[str]) -> str:
    headings = ["set", "new features, before", "after", "time in drift, before", "after"]
    headings += ["looks with a verdict, before", "after"]
    rows = []
    for name in names:
        before, after = (results.get(mode, {}).get(name) for mode in MODES)
        if before or after:
            rates = [_number(one and one["new_features"]) for one in (before, after)]
            times = [_percent(one and one["time_in_drift"]) for one in (before, after)]
            rows.append([name, *rates, *times, *map(_judged, (before, after))])
    return table(headings, rows)


def _judged(found: Optional[Results]) -> str:
    """The share of looks with a verdict, window by window."""
    return "-" if not found else ", ".join(_percent(found["judged"].get(window, 0.0), 0) for window in WINDOWS)


def _thinned() -> str:
    parts = ", ".join(f"{one.name} one of {one.thinning}" for one in DATA_SETS.values() if one.thinning > 1)
    return f"Large sets are thinned, in training and in production, by whole requests: {parts}."


def _counts(results: Results, key: str) -> str:
    rows = []
    for name in (*DATA_SETS, *STREAMS):
        found = [results.get(mode, {}).get(name) for mode in MODES]
        if any(one and one[key] for one in found):
            rows.append([name, *(_list(one and one[key]) for one in found)])
    return table(["set", *MODES], rows)


def _list(counts: Optional[Mapping[str, float]]) -> str:
    if counts is None:
        return "-"
    return ", ".join(f"`{name}` {count:,.3g}" for name, count in counts.items()) or "none"


def _fine(results: Results) -> str:
    before, after = results.get("fine_before", {}), results.get("fine", {})
    rows = []
    for name in (name for name in (*DATA_SETS, *STREAMS) if name in before or name in after):
        pair = (before.get(name), after.get(name))
        rates = [_number(one and one["new_features"]) for one in pair]
        times = [_percent(one and one["time_in_drift"]) for one in pair]
        days = next(one["days"] for one in pair if one)
        rows.append([name, f"{days:.0f}", *rates, *times])
    return table(["set", "days", "new features, before", "after", "time in drift, before", "after"], rows)


def _known(results: Results) -> str:
    rows = []
    for name, known in KNOWN.items():
        found = [results.get(mode, {}).get(name) for mode in MODES]
        if not any(found):
            continue
        for one in known:
            rows.append([name, one.name, *(_list_of(each and each.get("known", {}).get(one.name)) for each in found)])
        others = [_number(each and each.get("other_new_features")) for each in found]
        rows.append([name, "all other new features in 30 days", *others])
    return table(["set", "what", "new features, before", "after"], rows)


def _list_of(names: Optional[Sequence[str]]) -> str:
    return "-" if names is None else ", ".join(f"`{name}`" for name in names) or "none"


def _power(results: Results) -> str:
    before, after = results.get("power_before", {}), results.get("power", {})
    sets = [name for name in (*DATA_SETS, *STREAMS) if name in before or name in after]
    rows = []
    for name in sets:
        features = dict.fromkeys(
            feature for one in (before, after) for by in one.get(name, {}).values() for feature in by
        )
        for feature in features:
            cells = [_delays(before.get(name), after.get(name), fault, feature) for fault in FAULTS]
            rows.append([name, f"`{feature}`", *cells])
    return table(["set", "feature", *(f"{fault}: before / after" for fault in FAULTS)], rows)


def _delays(before: Optional[Results], after: Optional[Results], fault: str, feature: str) -> str:
    both = [one.get(fault, {}).get(feature) if one else None for one in (before, after)]
    return " / ".join(map(_delay, both)) if any(both) else ""


def _delay(found: Optional[Mapping[str, Any]]) -> str:
    if found is None:
        return "-"
    return "never" if found["rows"] is None else f"{found['rows']:,} ({found['hours']:.2g} h)"


def _clock(results: Results) -> str:
    labels = [f"{hours:+d} h" for hours in HOURS_AHEAD]
    rows = []
    for name, found in results.get("clock", {}).items():
        cells = []
        for label in labels:
            first = found[label]["first_hours"]
            cells.append(_number(found[label]["new_features"]) + (f", first after {first:g} h" if first else ""))
        rows.append([name, *cells])
    return table(["set", *labels], rows)


def _peers(results: Results) -> str:
    rows = []
    for name, by_length in results.get("peers", {}).items():
        ours = [results.get(mode, {}).get(name) for mode in MODES]
        for length in (length for length in BATCHES if length in by_length):
            found = by_length[length]
            drifted = [_percent(one and one["time_in_drift"]) for one in ours]
            rows.append([name, length, f"{found['batches']:,}", *(_percent(found[tool]) for tool in TOOLS), *drifted])
    ours_headings = ["ours, before: share of time", "after"]
    return table(["set", "batch", "batches", *TOOLS, *ours_headings], rows)


def _number(count: Optional[float]) -> str:
    return "-" if count is None else f"{count:,.0f}" if count >= 100 else f"{count:.3g}"


def _percent(share: Optional[float], digits: int = 2) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.{digits if share < 0.1 else min(digits, 1)}f} %"
