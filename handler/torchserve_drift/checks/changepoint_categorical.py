"""`cusum` of categorical features: the category whose share changed most, and categories that the baseline lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline
from torchserve_drift.checks.categorical import ShareChanges, share_changes_p
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.checks.span_weights import span_weights
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields

SHARES_SHARE, UNSEEN_SHARE = 0.75, 0.25
"""Parts of a feature's level: its categories' shares, and categories that the baseline lacks."""


class _Spans(NamedTuple):
    """The spans of one feature that have enough rows: tallies (S, width) of the feature, design effects (S,)."""

    place: int
    feature: CategoricalBaseline
    min_effects: Mapping[str, float]
    tallies: Floats
    design_effects: Floats


class CategoricalSpans:
    """The categorical features at ``places`` in the baseline."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        features = ((i, model.profile.features[i]) for i in places)
        self._features = [(i, f, model.min_effects[i]) for i, f in features if isinstance(f, CategoricalBaseline)]
        self._layout = model.layout

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """Of each feature that has enough rows in a span."""
        looked_at, changes = [], []
        for place, feature, min_effects in window.paced(self._features):
            tallies, design_effects = self._layout.part(window.rows.spans, place), window.span_design_effects[:, place]
            used = span_weights(tallies[:, fields.VALID]) > 0
            if used.any():
                spans = _Spans(place, feature, min_effects, tallies[used], design_effects[used])
                looked_at.append(spans)
                changes.append(_clearest_changes(spans))
        # exact tails of all features are computed together: a call for each would take several times as long
        for spans, change, p_values in zip(looked_at, changes, share_changes_p(changes)):
            found = [*_of_shares(spans, change, p_values), *_of_unseen(spans)]
            yield Finding(spans.place, "cusum", clearest(found))


def clearest(found: Sequence[Evidence]) -> Evidence:
    """The smallest p-value among changes that are large enough, if any are; else among all (at least one)."""
    return min(found, key=lambda evidence: (evidence.effect <= evidence.min_effect, evidence.p_value))


def _clearest_changes(spans: _Spans) -> ShareChanges:
    """Of each span the category of the largest likelihood ratio, among those whose share changed enough if any did."""
    feature, rows, counts = spans.feature, spans.tallies[:, fields.VALID], spans.tallies[:, fields.CATEGORIES :]
    base, total = feature.counts.astype(np.float64), float(feature.count)
    shares, before = counts / rows[:, None], base / total
    pooled = (counts + base) / (rows[:, None] + total)
    ratio = rows[:, None] * _divergence(shares, pooled) + total * _divergence(before, pooled)
    large = np.abs(shares - before) > spans.min_effects["frequency"]
    ratio = np.where(large | ~large.any(axis=1, keepdims=True), ratio, -1.0)
    return ShareChanges.of(feature, ratio.argmax(axis=1), spans.tallies, spans.design_effects)


def _divergence(share: Floats, other: Floats) -> Floats:
    """Kullback-Leibler divergence of two-valued distributions; ``other`` lies in (0, 1) wherever ``share`` does."""
    from scipy.special import rel_entr

    divergence: Floats = rel_entr(share, other) + rel_entr(1 - share, 1 - other)
    return divergence


def _of_shares(spans: _Spans, changes: ShareChanges, p_values: Floats) -> Iterator[Evidence]:
    parts = span_weights(spans.tallies[:, fields.VALID]) * SHARES_SHARE
    for p, change in zip(p_values / parts, changes.changes.tolist()):
        yield Evidence(min(float(p), 1.0), change, abs(change), spans.min_effects["frequency"])


def _of_unseen(spans: _Spans) -> Iterator[Evidence]:
    """Spans with rows of categories that the baseline lacks. Short spans weigh more here: few such rows suffice."""
    feature, rows, unseen = spans.feature, spans.tallies[:, fields.VALID], spans.tallies[:, fields.UNSEEN]
    counts = spans.tallies[:, fields.CATEGORIES :]
    parts = span_weights(rows, -1.0) * UNSEEN_SHARE
    for span in np.flatnonzero(unseen):
        design_effect = spans.design_effects[span]
        hits = int(unseen[span] // design_effect)
        p = unseen_categories_p(hits, feature.counts, np.floor(counts[span] / design_effect).astype(np.int64))
        share = float(unseen[span] / rows[span])
        yield Evidence(min(p / float(parts[span]), 1.0), share, share, spans.min_effects["new_category"])
