"""All checks of every feature in one window: statistics, effects and p-values, before any verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

import numpy as np

from torchserve_drift.baseline.profile import Baseline, CategoricalBaseline, FeatureBaseline
from torchserve_drift.config import Settings, Thresholds
from torchserve_drift.evidence import Evidence, FeatureEvidence
from torchserve_drift.numeric_checks import NumericChecks
from torchserve_drift.stats import proportions
from torchserve_drift.stats.chisquare import chi2_two_sample
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import layout as at
from torchserve_drift.window.coding import Codes
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.tally import Floats

NUMERIC_CHECKS = ("ks", "mean", "std", "range", "missing")
CATEGORICAL_CHECKS = ("chi2", "frequency", "new_category", "missing")


class Checks:
    """The checks of one baseline. Thread-safe after construction."""

    def __init__(self, baseline: Baseline, settings: Settings, layout: Layout, codes: Sequence[Codes]) -> None:
        features = baseline.features
        limits = [settings.thresholds(feature.name) for feature in features]
        self._layout = layout
        self._count = sum(len(NUMERIC_CHECKS if f.kind == "numeric" else CATEGORICAL_CHECKS) for f in features)
        self._missing = _Missing(features, limits, layout)
        self._numeric = NumericChecks(features, limits, layout, codes)
        self._categorical = [
            (i, feature, limits[i]) for i, feature in enumerate(features) if isinstance(feature, CategoricalBaseline)
        ]

    @property
    def count(self) -> int:
        """Checks in one window."""
        return self._count

    def evidence(self, window: WindowRows, pause: Callable[[], None]) -> list[FeatureEvidence]:
        """Every feature's checks in ``window``, in the baseline's order; a check without a value to look at is left
        out."""
        found = self._missing.evidence(window.tally)
        for index, checks in self._numeric.evidence(window, pause).items():
            found[index] = {**checks, **found[index]}
        for index, feature, limits in self._categorical:
            part = self._layout.part(window.tally, index)
            if part[at.VALID] > 0 and feature.count > 0:
                found[index] = {**_categorical(feature, limits, part), **found[index]}
            pause()
        return found


class _Missing:
    """The check for missing values, of all features at once."""

    def __init__(self, features: Sequence[FeatureBaseline], limits: Sequence[Thresholds], layout: Layout) -> None:
        self._offsets = np.array(layout.offsets)
        self._before = np.array([feature.missing for feature in features], dtype=np.float64)
        self._rows_before = self._before + [feature.count for feature in features]
        self._limits = [limit.missing_shift for limit in limits]

    def evidence(self, tally: Floats) -> list[FeatureEvidence]:
        """The check of every feature that has, or lacks, a value in the window; nothing for one of mistyped values
        only."""
        missing = tally[self._offsets + at.MISSING]
        rows = tally[self._offsets + at.VALID] + missing
        p_values = proportions.two_proportions_p(self._before, self._rows_before, missing, rows)
        shares = missing / np.maximum(rows, 1)
        changes = np.abs(shares - self._before / np.maximum(self._rows_before, 1))
        columns = (p_values.tolist(), shares.tolist(), changes.tolist(), self._limits)
        return [{"missing": Evidence(*found)} if n else {} for n, *found in zip(rows.tolist(), *columns)]


def _categorical(feature: CategoricalBaseline, limits: Thresholds, part: Floats) -> dict[str, Evidence]:
    rows, unseen, counts = part[at.VALID], int(part[at.UNSEEN]), part[at.CATEGORIES :].astype(np.int64)
    chi2 = chi2_two_sample(feature.counts, counts, unseen)
    changes = np.abs(counts / rows - feature.counts / feature.count)
    most = int(changes.argmax())
    change, share = float(changes[most]), float(unseen / rows)
    # the category was chosen for its change, so its p-value stands for as many tests as there are categories
    p_change = proportions.two_proportions_p(feature.counts[most], feature.count, counts[most], rows) * len(changes)
    p_unseen = unseen_categories_p(unseen, feature.counts, counts)
    return {
        "chi2": Evidence(chi2.p_value, chi2.cramers_v, chi2.effect, None),
        "frequency": Evidence(min(float(p_change), 1.0), change, change, limits.frequency_shift),
        "new_category": Evidence(float(p_unseen), share, share, limits.new_category_ratio),
    }
