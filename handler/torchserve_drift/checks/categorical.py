"""The checks of categorical features in one window: a pass over the counts feature by feature, exact tails for all at
once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable, NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline
from torchserve_drift.checks.evidence import Evidence
from torchserve_drift.settings.settings import Thresholds
from torchserve_drift.stats import proportions
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.chisquare import chi2_two_sample
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields
from torchserve_drift.window.layout import Layout

AT_ONCE = 256
"""Features whose tails are computed together: their number bounds how long a thread is kept from serving."""


class Moved(NamedTuple):
    """Categories chosen for how far their shares moved, one from each of S spans or windows; arrays (S,).

    ``hits`` of ``rows`` fall in the chosen one, ``base_hits`` of ``base_rows`` did in the baseline; it was chosen from
    among ``categories``. ``changes`` of its share in [-1, 1].
    """

    base_hits: Floats
    base_rows: Floats
    hits: Floats
    rows: Floats
    categories: Floats
    changes: Floats

    @classmethod
    def of(
        cls, feature: CategoricalBaseline, chosen: npt.NDArray[np.intp], part: Floats, design_effects: Floats
    ) -> Moved:
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


def moved_p(moved: Sequence[Moved]) -> list[Floats]:
    """p-values (S,) of each feature's chosen categories, by exact tails; not cut off at 1.

    A category was chosen for how far it moved, so its p-value stands for as many tests as there are categories.
    """
    if not moved:
        return []
    base_hits, base_rows, hits, rows, categories, _ = (np.concatenate(column) for column in zip(*moved))
    p_values = proportions.two_proportions_p(base_hits, base_rows, hits, rows) * categories
    return np.split(p_values, np.cumsum([len(each.rows) for each in moved])[:-1])


class CategoricalChecks:
    """chi2, frequency and new_category. Features of which the baseline has no value are left out. Thread-safe."""

    def __init__(
        self, features: Sequence[FeatureBaseline], limits: Sequence[Thresholds], gates: Sequence[float], layout: Layout
    ) -> None:
        self._features = [
            (i, feature, limits[i], gates[i])
            for i, feature in enumerate(features)
            if isinstance(feature, CategoricalBaseline) and feature.count > 0
        ]
        self._layout = layout

    def evidence(
        self, tally: Floats, design_effects: Floats, pause: Callable[[], None]
    ) -> Iterator[tuple[int, dict[str, Evidence]]]:
        """The checks of each feature with a value in the window, by its place in the baseline.

        ``tally`` (length,) of the window; ``design_effects`` (F,) of all features.
        """
        for start in range(0, len(self._features), AT_ONCE):
            looked_at, moved = [], []
            for place, feature, limits, gate in self._features[start : start + AT_ONCE]:
                part, effect = self._layout.part(tally, place), float(design_effects[place])
                if part[fields.VALID] > 0:
                    chi2, unseen = _of_all_categories(feature, limits, gate, part, effect)
                    looked_at.append((place, chi2, unseen, limits.frequency_shift))
                    moved.append(_most_moved(feature, part, effect))
                pause()
            for (place, chi2, unseen, limit), most, p in zip(looked_at, moved, moved_p(moved)):
                change = abs(float(most.changes[0]))
                frequency = Evidence(min(float(p[0]), 1.0), change, change, limit)
                yield place, {"chi2": chi2, "frequency": frequency, "new_category": unseen}
            pause()


def _most_moved(feature: CategoricalBaseline, part: Floats, design_effect: float) -> Moved:
    """The category whose share in the window moved most."""
    changes = np.abs(part[fields.CATEGORIES :] / part[fields.VALID] - feature.counts / feature.count)
    return Moved.of(feature, changes.argmax(keepdims=True), part[None], np.array([design_effect]))


def _of_all_categories(
    feature: CategoricalBaseline, limits: Thresholds, gate: float, part: Floats, design_effect: float
) -> tuple[Evidence, Evidence]:
    """chi2 and new_category."""
    rows, unseen, counts = part[fields.VALID], int(part[fields.UNSEEN]), part[fields.CATEGORIES :].astype(np.int64)
    chi2 = chi2_two_sample(feature.counts, counts, unseen, design_effect)
    p_unseen = unseen_categories_p(
        int(unseen // design_effect), feature.counts, np.floor(counts / design_effect).astype(np.int64)
    )
    share = float(unseen / rows)
    return (
        Evidence(chi2.p_value, chi2.cramers_v, chi2.effect, gate, chi2.bound),
        Evidence(float(p_unseen), share, share, limits.new_category_ratio),
    )
