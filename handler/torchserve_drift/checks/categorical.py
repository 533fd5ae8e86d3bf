"""The checks of categorical features in one window: `chi2`, `frequency` and `new_category`.

The counts are read feature by feature. The exact tails are then computed for a batch of features at once.
"""

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

BATCH_FEATURES = 256
"""How many features are computed together. The computation of a batch lets no request through, so it must be short."""


class ShareChanges(NamedTuple):
    """The change of one category's share in each of S spans of a window. In each span it may be another category.

    Attributes
    ----------
    base_hits, base_rows
        (S,) the baseline's rows of the chosen category, and of all categories.
    hits, rows
        (S,) the span's rows of the chosen category, and of all categories, as numbers of independent rows.
    categories
        (S,) the number of categories from which one was chosen.
    changes
        (S,) the chosen category's share in the span minus its share in the baseline, in [-1, 1].
    """

    base_hits: Floats
    base_rows: Floats
    hits: Floats
    rows: Floats
    categories: Floats
    changes: Floats

    @classmethod
    def of(cls, feature: CategoricalBaseline, chosen: Indices, part: Floats, design_effects: Floats) -> ShareChanges:
        """The changes of the ``chosen`` categories of one feature.

        Parameters
        ----------
        chosen
            (S,) the index of one category for each span.
        part
            (S, width) the feature's tallies of each span, at least one row in each.
        design_effects
            (S,) of the feature's values in each span.
        """
        rows, hits = part[:, fields.VALID], part[np.arange(len(part)), fields.CATEGORIES + chosen]
        base_hits, base_rows = feature.counts[chosen].astype(np.float64), float(feature.count)
        # Rounded down, so that no p-value comes from more rows than the span is worth. The exact tails need whole rows.
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
    """For each feature the p-values (S,) of its changes, by exact tails. They can exceed 1.

    A category was chosen because its share changed most. So its p-value is multiplied by the number of categories
    (Bonferroni's correction).
    """
    if not changes:
        return []
    # One call for all features: a call for each feature would take several times as long.
    base_hits, base_rows, hits, rows, categories, _ = (np.concatenate(column) for column in zip(*changes))
    p_values = proportions.two_proportions_p(base_hits, base_rows, hits, rows) * categories
    return np.split(p_values, np.cumsum([len(each.rows) for each in changes])[:-1])


class CategoricalChecks:
    """The checks chi2, frequency and new_category, for features that have a value in the baseline. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        self._features = [
            (i, feature, model.min_effects[i])
            for i, feature in enumerate(model.profile.features)
            if isinstance(feature, CategoricalBaseline) and feature.count > 0
        ]
        self._layout = model.layout

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence on each feature that has a value in the window."""
        batches = [self._features[i : i + BATCH_FEATURES] for i in range(0, len(self._features), BATCH_FEATURES)]
        for batch in window.paced(batches):
            present, changes = [], []
            for place, feature, min_effects in window.paced(batch):
                part = self._layout.part(window.rows.tally, place)
                design_effect = float(window.design_effects[place])
                if part[fields.VALID] > 0:
                    chi2, unseen = _chi2_and_new_category(feature, min_effects, part, design_effect)
                    present.append((place, chi2, unseen, min_effects["frequency"]))
                    changes.append(_largest_change(feature, part, design_effect))
            for (place, chi2, unseen, min_effect), largest, p in zip(present, changes, share_changes_p(changes)):
                change = abs(float(largest.changes[0]))
                yield Finding(place, "chi2", chi2)
                yield Finding(place, "frequency", Evidence(min(float(p[0]), 1.0), change, change, min_effect))
                yield Finding(place, "new_category", unseen)


def _largest_change(feature: CategoricalBaseline, part: Floats, design_effect: float) -> ShareChanges:
    """The change of the category whose share in the window differs most from its share in the baseline."""
    changes = np.abs(part[fields.CATEGORIES :] / part[fields.VALID] - feature.counts / feature.count)
    return ShareChanges.of(feature, changes.argmax(keepdims=True), part[None], np.array([design_effect]))


def _chi2_and_new_category(
    feature: CategoricalBaseline, min_effects: Mapping[str, float], part: Floats, design_effect: float
) -> tuple[Evidence, Evidence]:
    """The evidence of the checks chi2 and new_category, from the feature's ``part`` of a tally vector."""
    rows, unseen, counts = part[fields.VALID], int(part[fields.UNSEEN]), part[fields.CATEGORIES :].astype(np.int64)
    chi2 = chi2_two_sample(feature.counts, counts, unseen, design_effect)
    # The bound counts ways to deal whole rows. Rounded down, the rows are never worth more than they are.
    p_unseen = unseen_categories_p(
        int(unseen // design_effect), feature.counts, np.floor(counts / design_effect).astype(np.int64)
    )
    share = float(unseen / rows)
    # The statistic is Cramér's V as in textbooks. The effect is its size for samples of equal size: V itself depends on
    # the numbers of rows (docs/decisions/0005).
    return (
        Evidence(chi2.p_value, chi2.cramers_v, chi2.effect, min_effects["chi2"], chi2.bound),
        Evidence(float(p_unseen), share, share, min_effects["new_category"]),
    )
