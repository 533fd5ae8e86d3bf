"""The checks of categorical features in one window: a pass over the counts feature by feature, exact tails for all at
once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.stats import proportions
from torchserve_drift.stats.arrays import Floats, Indices
from torchserve_drift.stats.chisquare import chi2_two_sample
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields

AT_ONCE = 256
"""Features whose tails are computed together: their number bounds how long a thread is kept from serving."""


class ShareChanges(NamedTuple):
    """The change of one category's share in each of S spans or windows; arrays (S,).

    In each span one category was chosen from ``categories`` because its share changed most. ``hits`` of the span's
    ``rows`` are of that category, ``base_hits`` of ``base_rows`` were in the baseline. ``changes`` of its share are in
    [-1, 1].
    """

    base_hits: Floats
    base_rows: Floats
    hits: Floats
    rows: Floats
    categories: Floats
    changes: Floats

    @classmethod
    def of(cls, feature: CategoricalBaseline, chosen: Indices, part: Floats, design_effects: Floats) -> ShareChanges:
        """The ``chosen`` categories (S,) of a feature's tallies ``part`` (S, length), in independent rows."""
        rows, hits = part[:, fields.VALID], part[np.arange(len(part)), fields.CATEGORIES + chosen]
        base_hits, base_rows = feature.counts[chosen].astype(np.float64), float(feature.count)
        effective = np.maximum(np.floor(rows / design_effects), 1)
        return cls(
            base_hits,
            np.full(len(rows), base_rows),
            np.minimum(np.round(hits / design_effects), effective),
            effective,
            np.full(len(rows), float(len(feature.counts))),
            hits / rows - base_hits / base_rows,
        )


def share_changes_p(changes: Sequence[ShareChanges]) -> list[Floats]:
    """p-values (S,) of each feature's chosen categories, by exact tails; not cut off at 1.

    A category was chosen because its share changed most, so its p-value is multiplied by the number of categories.
    """
    if not changes:
        return []
    base_hits, base_rows, hits, rows, categories, _ = (np.concatenate(column) for column in zip(*changes))
    p_values = proportions.two_proportions_p(base_hits, base_rows, hits, rows) * categories
    return np.split(p_values, np.cumsum([len(each.rows) for each in changes])[:-1])


class CategoricalChecks:
    """chi2, frequency and new_category. Features of which the baseline has no value are left out. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        self._features = [
            (i, feature, model.min_effects[i])
            for i, feature in enumerate(model.profile.features)
            if isinstance(feature, CategoricalBaseline) and feature.count > 0
        ]
        self._layout = model.layout

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """Of each feature with a value in the window."""
        batches = [self._features[start : start + AT_ONCE] for start in range(0, len(self._features), AT_ONCE)]
        for batch in window.paced(batches):
            present, changes = [], []
            for place, feature, min_effects in window.paced(batch):
                part = self._layout.part(window.rows.tally, place)
                design_effect = float(window.design_effects[place])
                if part[fields.VALID] > 0:
                    chi2, unseen = _of_all_categories(feature, min_effects, part, design_effect)
                    present.append((place, chi2, unseen, min_effects["frequency"]))
                    changes.append(_largest_change(feature, part, design_effect))
            for (place, chi2, unseen, min_effect), largest, p in zip(present, changes, share_changes_p(changes)):
                change = abs(float(largest.changes[0]))
                yield Finding(place, "chi2", chi2)
                yield Finding(place, "frequency", Evidence(min(float(p[0]), 1.0), change, change, min_effect))
                yield Finding(place, "new_category", unseen)


def _largest_change(feature: CategoricalBaseline, part: Floats, design_effect: float) -> ShareChanges:
    """The category whose share in the window differs most from the baseline's."""
    changes = np.abs(part[fields.CATEGORIES :] / part[fields.VALID] - feature.counts / feature.count)
    return ShareChanges.of(feature, changes.argmax(keepdims=True), part[None], np.array([design_effect]))


def _of_all_categories(
    feature: CategoricalBaseline, min_effects: Mapping[str, float], part: Floats, design_effect: float
) -> tuple[Evidence, Evidence]:
    """chi2 and new_category."""
    rows, unseen, counts = part[fields.VALID], int(part[fields.UNSEEN]), part[fields.CATEGORIES :].astype(np.int64)
    chi2 = chi2_two_sample(feature.counts, counts, unseen, design_effect)
    p_unseen = unseen_categories_p(
        int(unseen // design_effect), feature.counts, np.floor(counts / design_effect).astype(np.int64)
    )
    share = float(unseen / rows)
    return (
        Evidence(chi2.p_value, chi2.cramers_v, chi2.effect, min_effects["chi2"], chi2.bound),
        Evidence(float(p_unseen), share, share, min_effects["new_category"]),
    )
