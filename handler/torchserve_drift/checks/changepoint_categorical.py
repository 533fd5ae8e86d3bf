"""The check `cusum` of categorical features: by the category whose share changed most, and by unseen categories."""

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

KNOWN_PART, UNSEEN_PART = 0.75, 0.25
"""The parts of a feature's level for changed shares of known categories, and for rows of unseen categories."""


class _Spans(NamedTuple):
    """The spans of one feature that have enough rows.

    ``place`` of the feature in the baseline; ``tallies`` (S, width) the feature's part of the tally vectors;
    ``design_effects`` (S,) of its values.
    """

    place: int
    feature: CategoricalBaseline
    min_effects: Mapping[str, float]
    tallies: Floats
    design_effects: Floats


class CategoricalSpans:
    """The check cusum of the categorical features at ``places`` in the baseline. Thread-safe."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        features = ((i, model.profile.features[i]) for i in places)
        self._features = [(i, f, model.min_effects[i]) for i, f in features if isinstance(f, CategoricalBaseline)]
        self._layout = model.layout

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence on each feature that has enough rows in at least one span."""
        all_spans, changes = [], []
        for place, feature, min_effects in window.paced(self._features):
            tallies, design_effects = self._layout.part(window.rows.spans, place), window.span_design_effects[:, place]
            used = span_weights(tallies[:, fields.VALID]) > 0
            if used.any():
                spans = _Spans(place, feature, min_effects, tallies[used], design_effects[used])
                all_spans.append(spans)
                changes.append(_clearest_changes(spans))
        for spans, change, p_values in zip(all_spans, changes, share_changes_p(changes)):
            evidence = [*_evidence_of_shares(spans, change, p_values), *_evidence_of_unseen(spans)]
            yield Finding(spans.place, "cusum", clearest(evidence))


def clearest(evidence: Sequence[Evidence]) -> Evidence:
    """The evidence with the smallest p-value among effects above their minimum effects, or among all if none is above.

    A small but certain change must not hide a large one: only large changes can make the check fail. ``evidence`` must
    not be empty.
    """
    return min(evidence, key=lambda each: (each.effect <= each.min_effect, each.p_value))


def _clearest_changes(spans: _Spans) -> ShareChanges:
    """For each span the category with the largest likelihood ratio of a changed share.

    Only categories whose share changed by more than the minimum effect of `frequency` are compared, if there are any.
    """
    feature, rows, counts = spans.feature, spans.tallies[:, fields.VALID], spans.tallies[:, fields.CATEGORIES :]
    base, total = feature.counts.astype(np.float64), float(feature.count)
    shares, before = counts / rows[:, None], base / total
    pooled = (counts + base) / (rows[:, None] + total)
    # The log likelihood ratio of one share for each sample against one common share.
    ratio = rows[:, None] * _divergence(shares, pooled) + total * _divergence(before, pooled)
    large = np.abs(shares - before) > spans.min_effects["frequency"]
    ratio = np.where(large | ~large.any(axis=1, keepdims=True), ratio, -1.0)
    return ShareChanges.of(feature, ratio.argmax(axis=1), spans.tallies, spans.design_effects)


def _divergence(share: Floats, other: Floats) -> Floats:
    """The Kullback-Leibler divergence of Bernoulli distributions; ``other`` is in (0, 1) wherever ``share`` is."""
    from scipy.special import rel_entr

    divergence: Floats = rel_entr(share, other) + rel_entr(1 - share, 1 - other)
    return divergence


def _evidence_of_shares(spans: _Spans, changes: ShareChanges, p_values: Floats) -> Iterator[Evidence]:
    """The evidence of each span on its chosen category."""
    parts = span_weights(spans.tallies[:, fields.VALID]) * KNOWN_PART
    for p, change in zip(p_values / parts, changes.changes.tolist()):
        yield Evidence(min(float(p), 1.0), change, abs(change), spans.min_effects["frequency"])


def _evidence_of_unseen(spans: _Spans) -> Iterator[Evidence]:
    """The evidence of each span that has rows of unseen categories."""
    feature, rows, unseen = spans.feature, spans.tallies[:, fields.VALID], spans.tallies[:, fields.UNSEEN]
    counts = spans.tallies[:, fields.CATEGORIES :]
    # Few rows of unseen categories are evidence enough, so short spans get the larger parts of the level.
    parts = span_weights(rows, -1.0) * UNSEEN_PART
    for span in np.flatnonzero(unseen):
        design_effect = spans.design_effects[span]
        hits = int(unseen[span] // design_effect)
        p = unseen_categories_p(hits, feature.counts, np.floor(counts[span] / design_effect).astype(np.int64))
        share = float(unseen[span] / rows[span])
        yield Evidence(min(p / float(parts[span]), 1.0), share, share, spans.min_effects["new_category"])
