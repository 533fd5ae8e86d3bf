"""The sequential check `cusum`: since when, within a window, a feature has been unlike the baseline.

Each span of the window's newest panes is compared with the baseline: numbers by location and scale of their normal
scores, categories by the share that changed most and by categories that the baseline lacks. The p-value is the
smallest, divided by the weight of its span: a generalised likelihood-ratio CUSUM over changes within the window.

References
----------
T. L. Lai, "Sequential changepoint detection in quality control and dynamical systems", J. R. Statist. Soc. B 57, 1995.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchserve_drift.baseline.profile import CategoricalBaseline, NumericBaseline
from torchserve_drift.checks.categorical import AT_ONCE
from torchserve_drift.checks.changepoint_categorical import CategoricalSpans
from torchserve_drift.checks.changepoint_numeric import NumericSpans
from torchserve_drift.checks.evidence import CheckedModel, Finding, WindowView


class ChangepointChecks:
    """`cusum` of every feature of which the baseline has a value, from tallies alone. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        present = [(i, feature) for i, feature in enumerate(model.profile.features) if feature.count > 0]
        numeric = [i for i, feature in present if isinstance(feature, NumericBaseline)]
        categorical = [i for i, feature in present if isinstance(feature, CategoricalBaseline)]
        # in batches, since nothing lets another thread in while one batch is computed
        self._numeric = [
            NumericSpans(model, numeric[start : start + AT_ONCE]) for start in range(0, len(numeric), AT_ONCE)
        ]
        self._categorical = [
            CategoricalSpans(model, categorical[start : start + AT_ONCE])
            for start in range(0, len(categorical), AT_ONCE)
        ]

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """Of each feature that has enough rows in a span."""
        for numeric in window.paced(self._numeric):
            yield from numeric.findings(window)
        for categorical in window.paced(self._categorical):
            yield from categorical.findings(window)
