"""The checks for missing values and for values of a wrong type, of all features at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.stats import proportions
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window import fields


class PresenceChecks:
    """The checks missing and wrong_type. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        features = model.profile.features
        self._offsets = np.array(model.layout.offsets)
        self._missing = np.array([feature.missing for feature in features], dtype=np.float64)
        self._rows = self._missing + [feature.count for feature in features]
        self._min_effects = model.min_effects

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence on each feature for which the window has rows."""
        tally, design_effects = window.rows.tally, window.absence_design_effects
        mistyped, missing = (tally[self._offsets + kind] for kind in (fields.MISTYPED, fields.MISSING))
        # `missing` leaves out values of a wrong type: training data has none, so the baseline's share is without them.
        rows = tally[self._offsets + fields.VALID] + missing
        shares = missing / np.maximum(rows, 1)
        changes = np.abs(shares - self._missing / np.maximum(self._rows, 1))
        p_values = _share_change_p(self._missing, self._rows, missing, rows, design_effects)
        yield from self._findings_of("missing", rows, p_values, shares, changes)
        rows = rows + mistyped
        shares = mistyped / np.maximum(rows, 1)
        p_values = _share_change_p(np.zeros_like(mistyped), self._rows, mistyped, rows, design_effects)
        yield from self._findings_of("wrong_type", rows, p_values, shares, shares)

    def _findings_of(
        self, check: str, rows: Floats, p_values: Floats, shares: Floats, changes: Floats
    ) -> Iterator[Finding]:
        """The findings of one check on all features that have ``rows``; all arrays (F,)."""
        for i in np.flatnonzero(rows).tolist():
            min_effect = self._min_effects[i][check]
            evidence = Evidence(float(p_values[i]), float(shares[i]), float(changes[i]), min_effect)
            yield Finding(i, check, evidence)


def _share_change_p(before: Floats, rows_before: Floats, now: Floats, rows: Floats, design_effects: Floats) -> Floats:
    """Two-sided p-values of the change of each share (F,) from ``before / rows_before`` to ``now / rows``."""
    # The exact tails need whole rows. Rounded down, the rows are never worth more than they are.
    effective = np.floor(rows / design_effects)
    hits = np.minimum(np.round(now / design_effects), effective)
    return proportions.two_proportions_p(before, rows_before, hits, effective)
