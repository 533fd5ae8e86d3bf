"""All checks of every feature in one window: statistics, effects and p-values, before any verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable

import numpy as np

from torchserve_drift.baseline.profile import FeatureBaseline, Profile
from torchserve_drift.checks.categorical import CategoricalChecks
from torchserve_drift.checks.changepoint import CusumChecks
from torchserve_drift.checks.evidence import Evidence, Found
from torchserve_drift.checks.joint import JointCheck
from torchserve_drift.checks.numeric import NumericChecks
from torchserve_drift.settings.settings import Settings, Thresholds
from torchserve_drift.stats import proportions
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.design_effect import sample_design_effect
from torchserve_drift.verdicts.budget import FEWEST_JOINT
from torchserve_drift.verdicts.min_effects import gate_of, joint_gate_of, thresholds_of
from torchserve_drift.window import fields
from torchserve_drift.window.coding import FeatureCodes
from torchserve_drift.window.design_effects import DesignEffects
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.merge import WindowRows

NUMERIC_CHECKS = ("ks", "cusum", "mean", "std", "range", "missing", "wrong_type")
CATEGORICAL_CHECKS = ("chi2", "cusum", "frequency", "new_category", "missing", "wrong_type")


class Checks:
    """The checks of one baseline. Thread-safe after construction."""

    def __init__(self, baseline: Profile, settings: Settings, layout: Layout, codes: Sequence[FeatureCodes]) -> None:
        features = baseline.features
        limits = [thresholds_of(feature, settings) for feature in features]
        gates = [gate_of(feature, settings.alarms) for feature in features]
        self._layout = layout
        self._design_effects = DesignEffects(baseline, layout)
        self._values = _Values(features, limits, layout)
        self._numeric = NumericChecks(features, limits, gates, layout, codes)
        self._cusum = CusumChecks(features, limits, layout)
        self._joint = JointCheck(baseline, codes)
        self._joint_gate = joint_gate_of(baseline, settings.alarms)
        self._categorical = CategoricalChecks(features, limits, gates, layout)

    def evidence(self, window: WindowRows, pause: Callable[[], None], *, jointly: bool = True) -> Found:
        """All checks of ``window``, those of the joint distribution only if ``jointly``; a check without a value to
        look at is left out."""
        of_spans = self._design_effects.of(window.spans)
        effects = of_spans[-1]
        found: list[dict[str, Evidence]] = [{} for _ in range(self._layout.features)]
        for index, checks in self._numeric.evidence(window, effects, pause).items():
            found[index].update(checks)
        for index, checks in self._categorical.evidence(window.tally, effects, pause):
            found[index].update(checks)
        for index, evidence in self._cusum.evidence(window.spans, of_spans, pause):
            found[index]["cusum"] = evidence
        of_absence = self._design_effects.of_absence(window.tally)
        for index, name, evidence in self._values.evidence(window.tally, of_absence):
            found[index][name] = evidence
        if len(found) < FEWEST_JOINT:
            return Found(found, effects.tolist(), ())
        alike = float(sample_design_effect(effects.max(), window.sample_rows / max(window.rows, 1)))
        if not jointly:
            return Found([*found, None], [*effects.tolist(), alike], ())
        joint = self._joint.evidence(window.codes, pause, alike, self._joint_gate)
        return Found(
            [*found, {} if joint is None else {"joint": Evidence(*joint[:3], self._joint_gate)}],
            [*effects.tolist(), alike],
            () if joint is None else joint.pair,
        )


class _Values:
    """The checks for missing values and for values of a wrong type, of all features at once."""

    def __init__(self, features: Sequence[FeatureBaseline], limits: Sequence[Thresholds], layout: Layout) -> None:
        self._offsets = np.array(layout.offsets)
        self._missing = np.array([feature.missing for feature in features], dtype=np.float64)
        self._rows = self._missing + [feature.count for feature in features]
        self._missing_limits = [limit.missing_shift for limit in limits]
        self._type_limits = [limit.wrong_type_ratio for limit in limits]

    def evidence(self, tally: Floats, design_effects: Floats) -> Iterator[tuple[int, str, Evidence]]:
        """Place, name and evidence, of every feature that has, or lacks, a value in the window.

        Missing values are judged among those of the right type; training data has no others.
        """
        mistyped, missing = (tally[self._offsets + kind] for kind in (fields.MISTYPED, fields.MISSING))
        rows = tally[self._offsets + fields.VALID] + missing
        changes = np.abs(missing / np.maximum(rows, 1) - self._missing / np.maximum(self._rows, 1))
        p_values = _shares_p(self._missing, self._rows, missing, rows, design_effects)
        shares = missing / np.maximum(rows, 1)
        for i in np.flatnonzero(rows):
            yield (
                int(i),
                "missing",
                Evidence(float(p_values[i]), float(shares[i]), float(changes[i]), self._missing_limits[i]),
            )
        rows = rows + mistyped
        p_values = _shares_p(np.zeros_like(mistyped), self._rows, mistyped, rows, design_effects)
        shares = mistyped / np.maximum(rows, 1)
        for i in np.flatnonzero(rows):
            yield (
                int(i),
                "wrong_type",
                Evidence(float(p_values[i]), float(shares[i]), float(shares[i]), self._type_limits[i]),
            )


def _shares_p(before: Floats, rows_before: Floats, now: Floats, rows: Floats, design_effects: Floats) -> Floats:
    """Two-sided p-values of the shares of effective rows."""
    effective = np.floor(rows / design_effects)
    hits = np.minimum(np.round(now / design_effects), effective)
    return proportions.two_proportions_p(before, rows_before, hits, effective)
