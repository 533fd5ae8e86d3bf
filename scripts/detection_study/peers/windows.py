"""Measures the rules of tools that compare a window with a reference: Evidently, NannyML and alibi-detect.

The window has the newest rows; the reference has a million. The rules are measured with the tools' default thresholds,
and with thresholds that give each feature the study's rate of false alarms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, Union

import numpy as np
from scipy import stats

from detection_study.marginals import MODEL, Categories, Floats
from detection_study.peers.rules import Integers, NumericReference, chi2_p, jensen_shannon, rolling_counts
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
"""Each tool's score at every look of a stream."""


class NumericJudge:
    """Scores against a training column: Wasserstein / std, Jensen-Shannon over Doane's bins, and D."""

    def __init__(self, column: Floats) -> None:
        self._column, self._reference = column, NumericReference.of(column)

    def scores(self, stream: Floats, window: int) -> Scores:
        present = stream[~np.isnan(stream)]
        d, wasserstein = self._reference.distances(present, window, LOOK_ROWS)
        return dict(zip(TOOLS, (wasserstein, self._jensen_shannon(present, window, LOOK_ROWS), d), strict=True))

    def chunk_scores(self, window: int) -> Floats:
        """NannyML's scores of the training column's own chunks."""
        return self._jensen_shannon(self._column, window, window)

    def least_failing(self, alpha: float, window: int) -> float:
        """alibi-detect's score for which p is ``alpha``."""
        n = len(self._column)
        return float(stats.kstwo.isf(alpha, round(n * window / (n + window))))

    def _jensen_shannon(self, values: Floats, window: int, step: int) -> Floats:
        counts = rolling_counts(self._reference.bin_of(values), len(self._reference.bins), window, step)
        return jensen_shannon(self._reference.bin_shares, counts / window, 2.0)


class CategoricalJudge:
    """Scores against a training column: Jensen-Shannon to base e and to base 2, and -ln p of chi-squared."""

    def __init__(self, column: Floats, kinds: int) -> None:
        self._column, self._kinds = column, kinds
        self._before = np.bincount(column.astype(np.intp), minlength=kinds + 1)

    def scores(self, stream: Floats, window: int) -> Scores:
        counts = self._counts(stream, window, LOOK_ROWS)
        natural = jensen_shannon(self._before / len(self._column), counts / window)
        with np.errstate(divide="ignore"):
            surprise = -np.log(chi2_p(self._before, counts))
        return dict(zip(TOOLS, (natural, natural / np.sqrt(np.log(2)), surprise), strict=True))

    def chunk_scores(self, window: int) -> Floats:
        """NannyML's scores of the training column's own chunks."""
        return jensen_shannon(
            self._before / len(self._column), self._counts(self._column, window, window) / window, 2.0
        )

    def least_failing(self, alpha: float, window: int) -> float:  # noqa: ARG002 - as of numbers
        """alibi-detect's score at which p is ``alpha``."""
        return float(-np.log(alpha))

    def _counts(self, values: Floats, window: int, step: int) -> Integers:
        codes = np.where(values < 0, self._kinds, values).astype(np.int64)
        return rolling_counts(codes, self._kinds + 1, window, step)


Judge = Union[NumericJudge, CategoricalJudge]


def judge_of(name: str, column: Floats) -> Judge:
    """The judge of the model's feature ``name``, trained on ``column``."""
    marginal = MODEL[name]
    return CategoricalJudge(column, len(marginal.shares)) if isinstance(marginal, Categories) else NumericJudge(column)


def default_thresholds(judge: Judge, window: int) -> Mapping[str, float]:
    """The default threshold of each tool; that of alibi-detect has Bonferroni's correction for the model's features."""
    chunks = judge.chunk_scores(window)
    least = judge.least_failing(0.05 / MODEL_FEATURES, window)
    return dict(zip(TOOLS, (0.1, float(chunks.mean() + 3 * chunks.std()), least), strict=True))


def _trained(name: str, rng: np.random.Generator) -> Judge:
    return judge_of(name, MODEL[name].rows(rng, REFERENCE_ROWS))


def quiet(name: str, window: int, *, looks: int, references: int, seed: int) -> dict[str, Floats]:
    """Scores (references, looks) of each tool on streams of the feature ``name`` without drift."""
    found: dict[str, list[Floats]] = {tool: [] for tool in TOOLS}
    for part in range(references):
        rng = np.random.default_rng([seed, part, window])
        judge = _trained(name, rng)
        stream = MODEL[name].rows(rng, looks * LOOK_ROWS + window - LOOK_ROWS)
        for tool, scores in judge.scores(stream, window).items():
            found[tool].append(scores)
    return {tool: np.array(parts) for tool, parts in found.items()}


def equal_thresholds(name: str, window: int, *, looks: int, references: int, seed: int) -> dict[str, float]:
    """Thresholds that the feature ``name`` without drift crosses once in `FEATURE_RATE_ROWS` rows."""
    scores = quiet(name, window, looks=looks, references=references, seed=seed)
    expected = looks * references * LOOK_ROWS / FEATURE_RATE_ROWS
    surprise = TOOLS[2] if isinstance(MODEL[name], Categories) else ""
    return {tool: threshold_for(parts, expected, power=1 if tool == surprise else 2) for tool, parts in scores.items()}


def default_alarms(*, rows: int, repetitions: int, seed: int) -> dict[str, dict[str, float]]:
    """False alarms with default thresholds over the model's 20 features: share of looks, alarms per million rows."""
    counts = {tool: [0, 0] for tool in TOOLS}
    looks = (rows - DEFAULT_WINDOW) // LOOK_ROWS + 1
    for part in range(repetitions):
        rng = np.random.default_rng([seed, part])
        flags = {tool: np.zeros(looks, bool) for tool in TOOLS}
        starts = dict.fromkeys(TOOLS, 0)
        for name, marginal in MODEL.items():
            judge = _trained(name, rng)
            limits = default_thresholds(judge, DEFAULT_WINDOW)
            for tool, scores in judge.scores(marginal.rows(rng, rows), DEFAULT_WINDOW).items():
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
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition, SHIFTS.index(shift)])
        judge = _trained(name, rng)
        before = MODEL[name].rows(rng, WARM_UP_ROWS)
        after = np.stack([MODEL[each].rows(rng, HORIZON_ROWS) for each in shift.features], axis=1)
        stream = np.concatenate([before, shift.change(rng, after)[:, 0]])
        for window in WINDOWS:
            scores = judge.scores(stream, window)
            limits = {str(window): equal[window]}
            if window == DEFAULT_WINDOW:
                limits["default"] = default_thresholds(judge, window)
            for label, thresholds in limits.items():
                for tool in TOOLS:
                    found[tool].setdefault(label, []).append(_delay(scores[tool], thresholds[tool]))
    return found


def _delay(scores: Floats, threshold: float) -> int | None:
    after = scores[-HORIZON_ROWS // LOOK_ROWS :]
    hits = np.flatnonzero(after > threshold)
    return int(hits[0] + 1) * LOOK_ROWS if len(hits) else None


def measure(*, repetitions: int, scale: float = 1.0, say: Callable[[str], None] = print) -> dict[str, object]:
    """Measure thresholds, false alarms with the defaults, and delays. ``scale`` below 1 shortens the simulations."""
    equal: dict[str, dict[int, dict[str, float]]] = {}
    for name in dict.fromkeys(shift.features[0] for shift in SHIFTS):
        cheap = isinstance(MODEL[name], Categories)
        equal[name] = {}
        for window in WINDOWS:
            looks = int(scale * (15_000 if cheap else 15_000_000 // (window + 750)))
            equal[name][window] = equal_thresholds(name, window, looks=looks, references=100, seed=11)
            say(f"thresholds of {name}, window {window}: {equal[name][window]}")
    alarms = default_alarms(rows=100_000, repetitions=max(1, int(10 * scale)), seed=12)
    say(f"false alarms at the defaults: {alarms}")
    found = {}
    for shift in SHIFTS:
        found[shift.name] = delays(shift, repetitions, equal[shift.features[0]], seed=13)
        say(f"delays of {shift.name}")
    return {"equal_thresholds": equal, "default_alarms": alarms, "delays": found}
