"""The parts of the page about other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from detection_study.onset import quantile
from detection_study.peers.windows import DEFAULT_WINDOW, TOOLS, WINDOWS
from detection_study.setting import BUDGET_ROWS, MODEL_FEATURES
from detection_study.shifts import SHIFTS
from detection_study.tables import cell, mean_cell, table

_NAMES = [shift.name for shift in SHIFTS]
_RIVER = ("ADWIN", "PageHinkley", "KSWIN")
_ONLINE = ("CVMDriftOnline", "MMDDriftOnline")

Delays = Sequence[int | None]


def best_window(peers: Mapping[str, Any], shift: str, tool: str) -> Delays:
    """The delays at equal rate with the window that happens to be the best for this shift."""
    of_tool = peers["windows"]["delays"][shift][tool]

    def rank(window: int) -> float:
        median = quantile(of_tool[str(window)], 0.5)
        if median is None:  # worse than any median; among these, the more often found, the better
            return 1e9 - sum(delay is not None for delay in of_tool[str(window)])
        return median

    found: Delays = of_tool[str(min(WINDOWS, key=rank))]
    return found


def equal_table(peers: Mapping[str, Any], ours: Mapping[str, Mapping[str, Delays]], limit: Mapping[str, Any]) -> str:
    """The delays of all tools at the study's rate; ``ours`` are our delays, by name."""
    row = [f"{limit[name]['median']:,.0f} ({limit[name]['q90']:,.0f})" for name in _NAMES]
    return _contenders(peers, ours, row, cell)


def mean_table(peers: Mapping[str, Any], ours: Mapping[str, Mapping[str, Delays]], limit: Mapping[str, Any]) -> str:
    """The means of the same delays."""
    return _contenders(peers, ours, [f"{limit[name]['mean']:,.0f}" for name in _NAMES], mean_cell)


def _contenders(
    peers: Mapping[str, Any],
    ours: Mapping[str, Mapping[str, Delays]],
    limit: Sequence[str],
    shown: Callable[[Delays | None], str],
) -> str:
    windowed, river = peers["windows"]["delays"], peers["river"]["delays"]
    rows = [["limit", *limit]]
    rows += [[name, *(shown(delays.get(shift)) for shift in _NAMES)] for name, delays in ours.items()]
    rows += [
        [f"{tool}, {window:,} rows", *(shown(windowed[name][tool][str(window)]) for name in _NAMES)]
        for tool in TOOLS
        for window in WINDOWS
    ]
    rows += [
        [f"river {tool}", *(shown(river.get(name, {}).get(tool, {}).get("equal")) for name in _NAMES)]
        for tool in _RIVER
    ]
    return table(["tool", *_NAMES], rows)


def settings_table(peers: Mapping[str, Any]) -> str:
    """The setting with which each tool has the study's rate of false alarms."""
    equal, river = peers["windows"]["equal_thresholds"], peers["river"]["equal"]
    named = [
        ("Evidently", "threshold"),
        ("NannyML", "constant threshold"),
        ("alibi-detect TabularDrift", "D, or -ln p"),
    ]
    rows = [
        [f"{tool}, window {window:,}", setting, *(f"{equal[name][str(window)][tool]:.4g}" for name in equal)]
        for tool, setting in named
        for window in WINDOWS
    ]
    settings = {"ADWIN": "delta", "PageHinkley": "threshold", "KSWIN": "alpha"}
    rows += [[f"river {tool}", settings[tool], *(f"{river[tool][name]:.3g}" for name in equal)] for tool in _RIVER]
    return table(["tool", "set by", *(f"at feature {name}" for name in equal)], rows)


def default_table(peers: Mapping[str, Any]) -> str:
    """False alarms and delays with the tools' default settings."""
    alarms = peers["windows"]["default_alarms"]
    river_alarms = peers["river"]["default_alarms_per_million_rows"]
    rows = [
        [tool, f"{alarms[tool]['alarms_per_million_rows'] * 10:,.0f}"]
        + [cell(peers["windows"]["delays"][name][tool]["default"]) for name in _NAMES]
        for tool in TOOLS
    ]
    for tool in _RIVER:
        # measured on three kinds of features; the model has 15, 1 and 4 like them
        weights = dict(zip(river_alarms[tool], (15, 1, 4), strict=True))
        rate = sum(rate * weights[name] for name, rate in river_alarms[tool].items()) * 10
        river = peers["river"]["delays"]
        rows.append(
            [
                f"river {tool}",
                f"about {rate:,.0f}",
                *(cell(river.get(name, {}).get(tool, {}).get("default")) for name in _NAMES),
            ]
        )
    return table(["tool", "false alarms per 10 million rows of 20 features", *_NAMES], rows)


def online_table(peers: Mapping[str, Any]) -> str:
    """alibi-detect's online detectors, which cannot be set to the study's rate."""
    online = peers["online"]
    text = [
        "The online detectors of alibi-detect take the expected number of rows between false alarms, and simulate "
        "thresholds for it when they are constructed. For the study's rate this is not possible, or takes too long:"
    ]
    text += [f"- `{name}`: {_said(online['refusals'][name])}" for name in _ONLINE]
    text.append("")
    text.append(
        f"So they are measured with one false alarm in {online['ert_rows']:,} rows, which is "
        f"{BUDGET_ROWS // online['ert_rows']:,} times the rate of the budget (for CVM this is the rate of one feature, "
        f"and {MODEL_FEATURES} times that for the model). A shift counts as found within {online['horizon_rows']:,} "
        "rows. Their construction took "
        + " and ".join(f"{seconds:.0f} s ({name})" for name, seconds in online["seconds_to_construct"].items())
        + "."
    )
    text.append("")
    names = list(online["delays"])
    text.append(
        table(
            ["tool", *names],
            [[name, *(cell(online["delays"][shift].get(name)) for shift in names)] for name in _ONLINE],
        )
    )
    return "\n".join(text)


def _said(message: str) -> str:
    first = " ".join(message.split())
    return f"`{first[:200]}`" if first else "no refusal, but see the time below"


def validation(peers: Mapping[str, Any]) -> str:
    """Versions of the tools, and how often our rules give the same verdicts as the tools themselves."""
    lines = []
    for key in ("real_evidently", "real_nannyml", "real_alibi"):
        one = peers[key]
        versions = ", ".join(f"{name} {number}" for name, number in one["versions"].items())
        lines.append(
            f"- **{one['tool']}** ({versions}): on 16 windows of 20 features, with and without drift, the tool itself "
            f"and our rule gave the same verdict in {one['same']} of {one['of']} cases."
        )
    blind = {
        peers[key]["tool"]: [name for name, seen in peers[key]["sees"].items() if not seen]
        for key in ("real_evidently", "real_nannyml", "real_alibi")
    }
    lines.append(f"- **river** {peers['river']['version']}: its own code, row by row.")
    versions = ", ".join(f"{name} {number}" for name, number in peers["online"]["versions"].items())
    lines.append(f"- **alibi-detect's online detectors** ({versions}): their own code, row by row.")
    said = "; ".join(f"{tool}: {', '.join(names) or 'none'}" for tool, names in blind.items())
    lines.append("")
    lines.append(f"Shifts that the tools themselves did not find in such a window of {DEFAULT_WINDOW:,} rows: {said}.")
    return "\n".join(lines)
