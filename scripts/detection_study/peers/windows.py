"""Tools that compare a window with a reference: Evidently, NannyML, alibi-detect, by their rules.

Every look is at the newest rows; the reference has a million. Beside the defaults, thresholds are moved, for each feature
by itself, to the false-alarm rate of the study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

import numpy as np
from scipy import stats

from detection_study.marginals import MODEL, Categories, Floats
from detection_study.peers.rules import NumericReference, chi2_p, jensen_shannon, rolling_counts
from detection_study.setting import (
    FEATURE_RATE_ROWS,
    HORIZON_ROWS,
    LOOK_ROWS,
    MODEL_FEATURES,
    WARM_UP_ROWS,
)
from detection_study.shifts import SHIFTS, Shift
from detection_study.tails import episodes, threshold_for

REFERENCE_ROWS = 1_000_000
WINDOWS = (500, 2_000, 5_000)
DEFAULT_WINDOW = 2_000
TOOLS = ("Evidently", "NannyML", "alibi-detect TabularDrift")

Scores = Mapping[str, Floats]
Judge = Callable[[Floats, int], Scores]
"""Each tool's score at every look of a stream, for a window of so many rows."""


def numeric_judge(column: Floats) -> Judge:
    """Scores against the training ``column``: Wasserstein / std, Jensen-Shannon over Doane's bins, and D."""
    reference = NumericReference.of(column)

    def scores(stream: Floats, window: int) -> Scores:
        present = stream[~np.isnan(stream)]
        d, wasserstein = reference.distances(present, window, LOOK_ROWS)
        counts = rolling_counts(reference.bin_of(present), len(reference.bins), window, LOOK_ROWS)
        return dict(
            zip(TOOLS, (wasserstein, jensen_shannon(reference.bin_shares, counts / window, 2.0), d), strict=True)
        )

    return scores


def categorical_judge(column: Floats, kinds: int) -> Judge:
    """Scores against the training ``column``: Jensen-Shannon to base e and to base 2, and -ln p of chi-squared."""
    before = np.bincount(column.astype(np.intp), minlength=kinds + 1)

    def scores(stream: Floats, window: int) -> Scores:
        codes = np.where(stream < 0, kinds, stream).astype(np.int64)
        counts = rolling_counts(codes, kinds + 1, window, LOOK_ROWS)
        natural = jensen_shannon(before / len(column), counts / window)
        with np.errstate(divide="ignore"):
            surprise = -np.log(chi2_p(before, counts))
        return dict(zip(TOOLS, (natural, natural / np.sqrt(np.log(2)), surprise), strict=True))

    return scores


def default_thresholds(judge: Judge, column: Floats, window: int, *, numeric: bool) -> Mapping[str, float]:
    """What each tool takes for its threshold by itself."""
    pieces = judge(column, window)["NannyML"][:: window // LOOK_ROWS] if window % LOOK_ROWS == 0 else np.empty(0)
    alpha = 0.05 / MODEL_FEATURES
    n = len(column)
    least_d = stats.kstwo.isf(alpha, round(n * window / (n + window)))
    return {
        "Evidently": 0.1,
        "NannyML": float(pieces.mean() + 3 * pieces.std()) if len(pieces) else np.nan,
        "alibi-detect TabularDrift": float(least_d if numeric else -np.log(alpha)),
    }


def _judge(name: str, rng: np.random.Generator) -> tuple[Judge, Floats]:
    marginal = MODEL[name]
    column = marginal.rows(rng, REFERENCE_ROWS)
    if isinstance(marginal, Categories):
        return categorical_judge(column, len(marginal.shares)), column
    return numeric_judge(column), column


def quiet(name: str, window: int, *, looks: int, references: int, seed: int) -> dict[str, Floats]:
    """Scores (references, looks) of each tool on streams of the feature ``name`` without drift."""
    found: dict[str, list[Floats]] = {tool: [] for tool in TOOLS}
    for part in range(references):
        rng = np.random.default_rng([seed, part, window])
        judge, _ = _judge(name, rng)
        stream = MODEL[name].rows(rng, looks * LOOK_ROWS + window - LOOK_ROWS)
        for tool, scores in judge(stream, window).items():
            found[tool].append(scores)
    return {tool: np.array(parts) for tool, parts in found.items()}


def equal_thresholds(name: str, window: int, *, looks: int, references: int, seed: int) -> dict[str, float]:
    """Thresholds that the feature ``name`` without drift crosses once in `FEATURE_RATE_ROWS` rows."""
    scores = quiet(name, window, looks=looks, references=references, seed=seed)
    expected = looks * references * LOOK_ROWS / FEATURE_RATE_ROWS
    return {tool: threshold_for(parts, expected) for tool, parts in scores.items()}


def default_alarms(*, rows: int, repetitions: int, seed: int) -> dict[str, dict[str, float]]:
    """False alarms of the defaults over the model's 20 features: share of looks, alarms per million rows."""
    counts = {tool: [0, 0] for tool in TOOLS}
    looks = (rows - DEFAULT_WINDOW) // LOOK_ROWS + 1
    for part in range(repetitions):
        rng = np.random.default_rng([seed, part])
        flags = {tool: np.zeros(looks, bool) for tool in TOOLS}
        starts = dict.fromkeys(TOOLS, 0)
        for name, marginal in MODEL.items():
            judge, column = _judge(name, rng)
            limits = default_thresholds(judge, column, DEFAULT_WINDOW, numeric=not isinstance(marginal, Categories))
            for tool, scores in judge(marginal.rows(rng, rows), DEFAULT_WINDOW).items():
                flags[tool] |= scores > limits[tool]
                starts[tool] += episodes(scores, limits[tool])
        for tool in TOOLS:
            counts[tool][0] += int(flags[tool].sum())
            counts[tool][1] += starts[tool]
    return {
        tool: {
            "looks_with_alarm": alarmed / (looks * repetitions),
            "alarms_per_million_rows": started / (rows * repetitions) * 1e6,
        }
        for tool, (alarmed, started) in counts.items()
    }


def delays(
    shift: Shift, repetitions: int, equal: Mapping[int, Mapping[str, float]], *, seed: int
) -> dict[str, dict[str, list[int | None]]]:
    """Delays in rows of each tool: at its defaults ("default"), and at the equal rate with each window ("500", ...)."""
    found: dict[str, dict[str, list[int | None]]] = {tool: {} for tool in TOOLS}
    name = shift.features[0]
    numeric = not isinstance(MODEL[name], Categories)
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition, SHIFTS.index(shift)])
        judge, column = _judge(name, rng)
        before = MODEL[name].rows(rng, WARM_UP_ROWS)
        after = np.stack([MODEL[each].rows(rng, HORIZON_ROWS) for each in shift.features], axis=1)
        stream = np.concatenate([before, shift.change(rng, after)[:, 0]])
        for window in WINDOWS:
            scores = judge(stream, window)
            limits = {str(window): equal[window]}
            if window == DEFAULT_WINDOW:
                limits["default"] = default_thresholds(judge, column, window, numeric=numeric)
            for label, thresholds in limits.items():
                for tool in TOOLS:
                    found[tool].setdefault(label, []).append(_delay(scores[tool], thresholds[tool]))
    return found


def _delay(scores: Floats, threshold: float) -> int | None:
    after = scores[-HORIZON_ROWS // LOOK_ROWS :]
    hits = np.flatnonzero(after > threshold)
    return int(hits[0] + 1) * LOOK_ROWS if len(hits) else None


def measure(*, repetitions: int, scale: float = 1.0, say: Callable[[str], None] = print) -> dict[str, object]:
    """Everything of this module: thresholds, false alarms of the defaults, delays. ``scale`` shortens simulations."""
    equal: dict[str, dict[int, dict[str, float]]] = {}
    for name in dict.fromkeys(shift.features[0] for shift in SHIFTS):
        cheap = isinstance(MODEL[name], Categories)
        equal[name] = {}
        for window in WINDOWS:
            looks = int(scale * (15_000 if cheap else 10_000_000 // (window + 500)))
            equal[name][window] = equal_thresholds(name, window, looks=looks, references=20, seed=11)
            say(f"thresholds of {name}, window {window}: {equal[name][window]}")
    alarms = default_alarms(rows=100_000, repetitions=max(1, int(20 * scale)), seed=12)
    say(f"false alarms at the defaults: {alarms}")
    found = {}
    for shift in SHIFTS:
        found[shift.name] = delays(shift, repetitions, equal[shift.features[0]], seed=13)
        say(f"delays of {shift.name}")
    return {"equal_thresholds": equal, "default_alarms": alarms, "delays": found}
