"""Writes docs/detection.md and its pictures from results.json and peers/results.json, without measuring anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection_study.calibration import LEVELS
from detection_study.marginals import MODEL
from detection_study.onset import ALARM_SETTINGS, quantile
from detection_study.peer_tables import (
    best_window,
    default_table,
    equal_table,
    mean_table,
    online_table,
    settings_table,
    validation,
)
from detection_study.quiet import FACTORS
from detection_study.same_rate import BUDGET_FACTORS
from detection_study.same_rate import LEVELS as CLUMPED
from detection_study.setting import BUDGET_ROWS, HORIZON_ROWS, WARM_UP_ROWS
from detection_study.shifts import SHIFTS
from detection_study.tables import cell, table

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
NAMES = [shift.name for shift in SHIFTS]


def page(results: Mapping[str, Any], peers: Mapping[str, Any]) -> str:
    """The text of docs/detection.md."""
    return (HERE / "template.md").read_text().format(**_parts(results, peers))


def write(results: Mapping[str, Any], peers: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Write the page and both pictures into the folder ``docs``."""
    from detection_study import plots  # matplotlib is in the study's own environment only

    (docs / "detection.md").write_text(page(results, peers))
    plots.budget(docs / "detection" / "budget.svg", _by_training(results["quiet"]))
    plots.delays(docs / "detection" / "delays.svg", NAMES, _medians(results, peers), HORIZON_ROWS)


def _by_training(results: Mapping[str, Any]) -> dict[str, Any]:
    ordered = sorted(results.items(), key=lambda item: -int(item[0]))
    return {f"{int(rows):,} training rows": one for rows, one in ordered}


def _parts(results: Mapping[str, Any], peers: Mapping[str, Any]) -> dict[str, str]:
    quiet, onset = _by_training(results["quiet"]), _by_training(results["onset"])
    ours = {
        "**torchserve-drift**": _ours(onset, "equal"),
        "torchserve-drift, as promised": _ours(onset, "none"),
    }
    return {
        "false_alarms": _false_alarms(quiet),
        "magnified": _magnified(quiet),
        "by_family": _counts(quiet, "by_family", "kind of feature"),
        "by_check": _counts(quiet, "by_check", "check"),
        "model": "A model of 20 features (10 normal, 5 lognormal, 5 categorical).",
        "delays": _delays(onset, results["limit"]),
        "stray": _stray(onset),
        "peers_equal": equal_table(peers, ours, results["limit"]),
        "peers_means": mean_table(peers, ours, results["limit"]),
        "same_rate": _same_rate(results["same_rate"]),
        "clumping": _clumping(results["clumping"]),
        "rare": _rare(results["rare"]),
        "peers_settings": settings_table(peers),
        "peers_default": default_table(peers),
        "peers_online": online_table(peers),
        "validation": validation(peers),
        "peer_looks": "260,000 (window 5,000) to 1,500,000",
        "repetitions": _repetitions(onset, peers),
        "calibration": _calibration(quiet),
        "simulated": _simulated(results["p_values"]),
    }


def _false_alarms(quiet: Mapping[str, Any]) -> str:
    return table(
        ["baseline of", "streams", "rows", "alarms", "per 10 million rows", "95 % upper bound", "of the budget spent"],
        (
            [
                name,
                f"{one['streams']}",
                f"{one['rows']:,}",
                f"{one['alarms']}",
                f"{one['rate']:.2f}",
                f"{one['rate_upper']:.2f}",
                f"{one['spent']:.0%}".replace("%", " %"),
            ]
            for name, one in quiet.items()
        ),
    )


def _magnified(quiet: Mapping[str, Any]) -> str:
    return table(
        ["baseline of", "p-values below", "expected at most", "counted"],
        (
            [name, f"{factor:,} x alpha" if factor > 1 else "alpha", f"{most:,.1f}", f"{count:,}"]
            for name, one in quiet.items()
            for factor, most, count in zip(FACTORS, one["expected_below"], one["below"], strict=True)
        ),
    )


def _counts(quiet: Mapping[str, Any], key: str, heading: str) -> str:
    names = list(dict.fromkeys(name for one in quiet.values() for name in one[key]))
    return table(
        [heading, *(f"alarms, {name}" for name in quiet)],
        ([name, *(f"{one[key].get(name, 0)}" for one in quiet.values())] for name in names),
    )


def _delays(onset: Mapping[str, Any], limit: Mapping[str, Any]) -> str:
    headings = ["shift", "limit"]
    for name in onset:
        headings += [f"{name}, no minimum effect", f"{name}, no minimum effect, same rate", f"{name}, defaults"]
    rows = []
    for name in NAMES:
        row = [name, f"{limit[name]['median']:,.0f} ({limit[name]['q90']:,.0f})"]
        for one in onset.values():
            row += [cell(one["delays"].get(name, {}).get(alarm_setting)) for alarm_setting in ALARM_SETTINGS]
        rows.append(row)
    return table(headings, rows)


def _stray(onset: Mapping[str, Any]) -> str:
    parts = []
    for name, one in onset.items():
        rows = one["repetitions"] * len(one["delays"]) * WARM_UP_ROWS
        parts.append(
            f"with {name} ({one['repetitions']} repetitions of each shift), false alarms before the shift: "
            f"{one['early']} (in {rows:,} rows, for which {rows / BUDGET_ROWS:.1f} are allowed); "
            f"in other features after it: {one['elsewhere']}"
        )
    return "; ".join(parts) + "."


def _repetitions(onset: Mapping[str, Any], peers: Mapping[str, Any]) -> str:
    of_tools = len(peers["windows"]["delays"][NAMES[0]]["Evidently"]["default"])
    of_river = peers["river"]["delays"][NAMES[0]]
    return (
        f"{next(iter(onset.values()))['repetitions']} of ours, {of_tools} of the tools that compare windows, "
        f"{len(of_river['ADWIN']['equal'])} of river's, {len(of_river['KSWIN']['equal'])} of KSWIN"
    )


def _same_rate(same_rate: Mapping[str, Any]) -> str:
    kinds = next(iter(_by_training(same_rate).values()))
    return table(
        [
            "20 features like",
            "rows",
            *(f"at {budget_factor:,} x: counted (allowed)" for budget_factor in BUDGET_FACTORS),
            "same rate at",
        ],
        (
            [
                f"`{kind}`, {MODEL[kind].family}",
                f"{one['rows']:,}",
                *(f"{n:,} ({most:,.0f})" for n, most in zip(one["alarms"], one["allowed"], strict=True)),
                f"{one['budget_factor']:.1f} x",
            ]
            for kind, one in kinds.items()
        ),
    )


def _clumping(found: Mapping[str, Any]) -> str:
    return (
        f"in a simulated random walk, the spans have {found['ratios'][0]:.0%} of the allowed crossings at a level of "
        f"{CLUMPED[0]:g} and {found['ratios'][-1]:.0%} at {CLUMPED[-1]:g} ({found['counted'][0]:,} and "
        f"{found['counted'][-1]:,} counted). This share is proportional to the level to the power of "
        f"{found['power']:.3f}"
    ).replace("%", " %")


def _rare(rare: Mapping[str, Any]) -> str:
    name, one = next(iter(_by_training(rare).items()))
    return (
        f"With {name} and 20 features that have such a category and five frequent ones, its rule had "
        f"{one['theirs']} false alarms in {one['rows']:,} rows without drift, which is {one['theirs_rate']:.0f} in 10 "
        f"million instead of one; ours had {one['ours']} (95 % bound: {one['ours_upper']:.1f} in 10 million)"
    )


def _ours(onset: Mapping[str, Any], alarm_setting: str) -> dict[str, Sequence[int | None]]:
    """The delays of the first setting, by shift."""
    first = next(iter(onset.values()))
    return {
        name: first["delays"][name][alarm_setting] for name in NAMES if alarm_setting in first["delays"].get(name, {})
    }


def _medians(results: Mapping[str, Any], peers: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    onset = _by_training(results["onset"])
    found: dict[str, dict[str, float | None]] = {
        "limit": {name: results["limit"][name]["median"] for name in NAMES},
        "torchserve-drift": {name: quantile(delays, 0.5) for name, delays in _ours(onset, "equal").items()},
    }
    for tool in ("Evidently", "NannyML", "alibi-detect TabularDrift"):
        found[tool] = {name: quantile(best_window(peers, name, tool), 0.5) for name in NAMES}
    for tool in ("ADWIN", "PageHinkley"):
        found[f"river {tool}"] = {
            name: quantile(of_shift[tool]["equal"], 0.5) for name, of_shift in peers["river"]["delays"].items()
        }
    return found


def _calibration(quiet: Mapping[str, Any]) -> str:
    first = next(iter(quiet.values()))
    return table(
        ["check, kind of feature", "uniform: p", *(f"at {level:g}" for level in LEVELS)],
        (
            [
                key,
                _uniformity(first["calibration"].get(key)),
                *(f"{count / counts[-1] / level:.2f}" for count, level in zip(counts, LEVELS, strict=False)),
            ]
            for key, counts in first["levels"].items()
            if counts[0]
        ),
    )


def _simulated(found: Mapping[str, Any]) -> str:
    return table(
        ["statistic", "p-values", "uniform: p", *(f"at {level:g}" for level in LEVELS)],
        (
            [
                name,
                f"{one['n']:,}",
                _uniformity(one),
                *(f"{factor:.2f} ({low:.2f} to {high:.2f})" for factor, low, high in one["factors"]),
            ]
            for name, one in found.items()
        ),
    )


def _uniformity(found: Mapping[str, Any] | None) -> str:
    """The p-value of the test for uniformity; "counts" for a test of counts, whose p-values cannot be uniform."""
    if not found:
        return "-"
    return "counts" if found["ties"] > 0.01 else f"{found['ks_p']:.2g}"
