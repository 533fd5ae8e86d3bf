"""The sequential check: since when, within a window, a feature has been unlike the baseline; a dozen starts tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline
from torchserve_drift.checks.categorical import AT_ONCE, Moved, moved_p
from torchserve_drift.checks.evidence import Evidence
from torchserve_drift.checks.numeric import Limits, baseline_bins, shifts_of
from torchserve_drift.settings.settings import Thresholds
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.bin_scores import bin_scores, score_moments
from torchserve_drift.stats.kolmogorov import LEAST
from torchserve_drift.stats.score_tests import Moments, shift_p
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields
from torchserve_drift.window.layout import Layout

FEWEST_ROWS = 50
"""A span of fewer is not looked at: no p-value of so few rows could be small enough."""

LOCATION_SHARE, SCALE_SHARE = 0.85, 0.15
"""Parts of a numeric feature's level."""

SHARES_SHARE, UNSEEN_SHARE = 0.75, 0.25
"""Parts of a categorical feature's level: its categories' shares, and categories that the baseline lacks."""


class _Columns(NamedTuple):
    """Some numeric features: their ``places`` in the baseline, ``bins`` (F, B) in a tally vector, and what is known."""

    places: npt.NDArray[np.intp]
    bins: npt.NDArray[np.intp]
    filled: npt.NDArray[np.bool_]
    limits: Limits
    scores: tuple[tuple[Floats, Moments, Floats], tuple[Floats, Moments, Floats]]


class CusumChecks:
    """Window-limited cumulative sums of every feature, from tallies alone. Thread-safe.

    Each span of the window's newest panes is held against the baseline, numbers by location and scale of their normal
    scores, categories by the share that moved most and by what the baseline lacks. The p-value is the smallest,
    divided by its span's weight: a generalised likelihood-ratio CUSUM, over changes within the window.

    References
    ----------
    T. L. Lai, "Sequential changepoint detection in quality control and dynamical systems", J. R. Statist. Soc. B 57,
    1995.
    """

    def __init__(self, features: Sequence[FeatureBaseline], limits: Sequence[Thresholds], layout: Layout) -> None:
        chosen = [i for i, f in enumerate(features) if isinstance(f, NumericBaseline) and f.count > 0]
        self._numeric = [
            _columns([features[i] for i in some], [limits[i] for i in some], some, layout)
            for some in (chosen[start : start + AT_ONCE] for start in range(0, len(chosen), AT_ONCE))
        ]
        self._categorical = [
            (i, feature, limits[i])
            for i, feature in enumerate(features)
            if isinstance(feature, CategoricalBaseline) and feature.count > 0
        ]
        self._layout = layout

    def evidence(
        self, spans: Floats, design_effects: Floats, pause: Callable[[], None]
    ) -> Iterator[tuple[int, Evidence]]:
        """The check of each feature with enough rows, by place: ``spans`` (S, length), ``design_effects`` (S, F)."""
        for columns in self._numeric:
            yield from _numeric(columns, spans, design_effects[:, columns.places])
            pause()
        for start in range(0, len(self._categorical), AT_ONCE):
            yield from self._categories(self._categorical[start : start + AT_ONCE], spans, design_effects, pause)
            pause()

    def _categories(
        self,
        some: Sequence[tuple[int, CategoricalBaseline, Thresholds]],
        spans: Floats,
        design_effects: Floats,
        pause: Callable[[], None],
    ) -> Iterator[tuple[int, Evidence]]:
        """What the spans with enough rows show of shares and of unseen categories."""
        looked_at, moved = [], []
        for place, feature, limits in some:
            part, effects = self._layout.part(spans, place), design_effects[:, place]
            long_enough = span_weights(part[:, fields.VALID]) > 0
            if long_enough.any():
                part, effects = part[long_enough], effects[long_enough]
                looked_at.append((place, feature, limits, part, effects))
                moved.append(_clearest_moves(feature, limits.frequency_shift, part, effects))
            pause()
        for (place, feature, limits, part, effects), moves, p in zip(looked_at, moved, moved_p(moved)):
            shares = _share_changes(moves, p, limits.frequency_shift, part[:, fields.VALID])
            yield place, clearest([*shares, *_unseen(feature, limits.new_category_ratio, part, effects)])


def clearest(found: Sequence[Evidence]) -> Evidence:
    """The smallest p-value among differences that are large enough, if any are; else among all (at least one)."""
    return min(found, key=lambda evidence: (evidence.effect <= evidence.limit, evidence.p_value))


def _columns(
    features: Sequence[FeatureBaseline], limits: Sequence[Thresholds], places: Sequence[int], layout: Layout
) -> _Columns:
    numeric = [feature for feature in features if isinstance(feature, NumericBaseline)]
    counts = [baseline_bins(feature) for feature in numeric]
    most = max(map(len, counts))
    offsets = np.array(layout.offsets)[list(places)]
    filled = np.arange(most) < np.array([len(c) for c in counts])[:, None]
    bins = np.where(filled, offsets[:, None] + fields.BINS + np.arange(most), 0)
    known = np.array([np.pad(c, (0, most - len(c))) for c in counts], np.float64)
    scores, rows = bin_scores(known), known.sum(axis=1)
    return _Columns(
        np.array(places, np.intp),
        bins,
        filled,
        Limits.of(numeric, limits, offsets),
        (
            (scores.location, score_moments(known, scores.location, rows), scores.location_step),
            (scores.scale, score_moments(known, scores.scale, rows), scores.scale_step),
        ),
    )


def _numeric(columns: _Columns, spans: Floats, design_effects: Floats) -> Iterator[tuple[int, Evidence]]:
    counts = np.where(columns.filled, spans[:, columns.bins], 0.0)
    rows = counts.sum(axis=-1)
    weights = span_weights(rows)
    looked_at = weights.any(axis=1)
    if not looked_at.any():
        return
    everything = (spans, counts, rows, weights, design_effects)
    spans, counts, rows, weights, design_effects = (of[looked_at] for of in everything)
    effective, alike = np.maximum(rows / design_effects, 1), design_effects > 1
    p_values = np.array(
        [
            np.nan_to_num(shift_p(score_moments(counts, scores, effective), known, step, cautious=alike), nan=1.0)
            for scores, known, step in columns.scores
        ]
    )
    parts = weights * np.array([LOCATION_SHARE, SCALE_SHARE])[:, None, None]
    adjusted = np.where(parts > 0, np.maximum(p_values, LEAST) / np.where(parts > 0, parts, 1), np.inf)
    sizes = np.array(shifts_of(spans, columns.limits))
    limits = np.array([columns.limits.mean, columns.limits.std])
    large = (np.abs(sizes) > limits[:, None, :]) & (weights > 0)
    (part, span), each = np.divmod(_chosen(adjusted, large), len(spans)), np.arange(len(columns.places))
    p, values, gates = np.minimum(adjusted[part, span, each], 1.0), sizes[part, span, each], limits[part, each]
    for i in np.flatnonzero(weights.any(axis=0)):
        yield int(columns.places[i]), Evidence(float(p[i]), float(values[i]), abs(float(values[i])), float(gates[i]))


def _chosen(adjusted: Floats, large: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """For each feature the smallest p-value among differences that are large enough, if any are; else among all.

    ``adjusted`` and ``large`` (parts, S, F); indices (F,) into parts x S.
    """
    flat, ample = adjusted.reshape(-1, adjusted.shape[-1]), large.reshape(-1, large.shape[-1])
    best: npt.NDArray[np.intp] = np.where(ample, flat, np.inf).argmin(axis=0)
    return np.where(ample.any(axis=0), best, flat.argmin(axis=0)).astype(np.intp)


def span_weights(rows: Floats, power: float = 0.5) -> Floats:
    """The weight of each span (S, ...) by its ``rows``, proportional to rows ** power; 1 over the spans of a feature.

    Longer spans show smaller changes, which need the smaller p-value less dearly bought. 0 for a span of fewer than
    `FEWEST_ROWS` rows, and for one that has no more rows than the span within it.

    Examples
    --------
    >>> span_weights(np.array([100.0, 400.0, 400.0])).round(3).tolist()
    [0.333, 0.667, 0.0]
    """
    longer = np.diff(rows, axis=0, prepend=0) > 0
    raw = np.where(longer & (rows >= FEWEST_ROWS), np.maximum(rows, 1) ** power, 0.0)
    weights: Floats = raw / np.maximum(raw.sum(axis=0), np.finfo(float).tiny)
    return weights


def _clearest_moves(feature: CategoricalBaseline, limit: float, spans: Floats, design_effects: Floats) -> Moved:
    """Of each span the category that speaks most clearly, among those whose share changed enough if any did."""
    rows, counts = spans[:, fields.VALID], spans[:, fields.CATEGORIES :]
    base, total = feature.counts.astype(np.float64), float(feature.count)
    shares, before = counts / rows[:, None], base / total
    pooled = (counts + base) / (rows[:, None] + total)
    clarity = rows[:, None] * _divergence(shares, pooled) + total * _divergence(before, pooled)
    large = np.abs(shares - before) > limit
    clarity = np.where(large | ~large.any(axis=1, keepdims=True), clarity, -1.0)
    return Moved.of(feature, clarity.argmax(axis=1), spans, design_effects)


def _share_changes(moves: Moved, p_values: Floats, limit: float, rows: Floats) -> Iterator[Evidence]:
    for p, change in zip(p_values / (span_weights(rows) * SHARES_SHARE), moves.changes.tolist()):
        yield Evidence(min(float(p), 1.0), change, abs(change), limit)


def _divergence(share: Floats, other: Floats) -> Floats:
    """Kullback and Leibler's, of two-valued distributions; ``other`` lies in (0, 1) wherever ``share`` does."""
    from scipy.special import rel_entr

    divergence: Floats = rel_entr(share, other) + rel_entr(1 - share, 1 - other)
    return divergence


def _unseen(feature: CategoricalBaseline, limit: float, spans: Floats, design_effects: Floats) -> Iterator[Evidence]:
    """Spans with rows of categories that the baseline lacks; here the short ones weigh more."""
    rows, unseen, counts = spans[:, fields.VALID], spans[:, fields.UNSEEN], spans[:, fields.CATEGORIES :]
    weights = span_weights(rows, -1.0) * UNSEEN_SHARE
    for span in np.flatnonzero(unseen):
        hits = int(unseen[span] // design_effects[span])
        p = unseen_categories_p(hits, feature.counts, np.floor(counts[span] / design_effects[span]).astype(np.int64))
        share = float(unseen[span] / rows[span])
        yield Evidence(min(p / float(weights[span]), 1.0), share, share, limit)
