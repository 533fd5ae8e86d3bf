"""The sequential check `cusum`: whether a feature changed at any time within a window and has differed since then.

A span is the newest 1, 2, 3, ... panes of the window. Each span is compared with the baseline: numeric features by
location and scale of their normal scores, categorical features by the share that changed most and by the rows of unseen
categories. The p-value of each span is divided by the weight of the span, and the smallest result is the p-value of the
check. This is a window-limited generalised likelihood-ratio CUSUM; docs/decisions/0014 says why it needs no state.

References
----------
T. L. Lai, "Sequential changepoint detection in quality control and dynamical systems", J. R. Statist. Soc. B 57, 1995.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchserve_drift.baseline.profile import CategoricalBaseline, NumericBaseline
from torchserve_drift.checks.categorical import BATCH_FEATURES
from torchserve_drift.checks.changepoint_categorical import CategoricalSpans
from torchserve_drift.checks.changepoint_numeric import NumericSpans
from torchserve_drift.checks.evidence import CheckedModel, Finding, WindowView


class ChangepointChecks:
    """The check cusum, for features that have a value in the baseline. It needs tallies only. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        present = [(i, feature) for i, feature in enumerate(model.profile.features) if feature.count > 0]
        numeric = [i for i, feature in present if isinstance(feature, NumericBaseline)]
        categorical = [i for i, feature in present if isinstance(feature, CategoricalBaseline)]
        # In batches: the computation of a batch lets no request through, so a batch must be short.
        self._numeric = [
            NumericSpans(model, numeric[i : i + BATCH_FEATURES]) for i in range(0, len(numeric), BATCH_FEATURES)
        ]
        self._categorical = [
            CategoricalSpans(model, categorical[i : i + BATCH_FEATURES])
            for i in range(0, len(categorical), BATCH_FEATURES)
        ]

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence on each feature that has enough rows in at least one span."""
        for numeric in window.paced(self._numeric):
            yield from numeric.findings(window)
        for categorical in window.paced(self._categorical):
            yield from categorical.findings(window)
