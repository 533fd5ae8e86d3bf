"""All checks of a model, run on one window."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from torchserve_drift.checks.catalogue import CHECKS, FEWEST_JOINT_FEATURES
from torchserve_drift.checks.evidence import CheckedModel, CheckGroup, Evidence, WindowEvidence, WindowView
from torchserve_drift.stats.design_effect import sample_design_effect
from torchserve_drift.window.design_effects import DesignEffects
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.pacing import NO_PAUSE, Pace


class WindowChecks:
    """All checks of one model. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        self._features = model.layout.features
        self._design_effects = DesignEffects(model.profile, model.layout)
        # One class can compute several checks: dict.fromkeys keeps each class once.
        self._groups = [
            _group_class(path)(model) for path in dict.fromkeys(check.computed_by for check in CHECKS.values())
        ]

    def evidence(self, rows: WindowRows, paced: Pace = NO_PAUSE, *, jointly: bool = True) -> WindowEvidence:
        """The evidence of all checks in a window; the joint distribution is checked only if ``jointly``."""
        window = self._view(rows, paced, jointly=jointly)
        by_feature: list[dict[str, Evidence]] = [{} for _ in range(self._features + 1)]
        for group in self._groups:
            for finding in group.findings(window):
                by_feature[finding.feature][finding.check] = finding.evidence
        *features, joint = by_feature
        design_effects = window.design_effects.tolist()
        if self._features < FEWEST_JOINT_FEATURES:
            return WindowEvidence(features, design_effects)
        return WindowEvidence([*features, joint if jointly else None], [*design_effects, window.sample_design_effect])

    def _view(self, rows: WindowRows, paced: Pace, *, jointly: bool) -> WindowView:
        span_design_effects = self._design_effects.of(rows.spans)
        sampled_share = rows.sample_rows / max(rows.rows, 1)
        return WindowView(
            rows,
            span_design_effects,
            self._design_effects.of_absence(rows.tally),
            # The largest of all features: a row of the sample is one row for all of them.
            float(sample_design_effect(span_design_effects[-1].max(), sampled_share)),
            jointly and self._features >= FEWEST_JOINT_FEATURES,
            paced,
        )


def _group_class(path: str) -> type[CheckGroup]:
    """The class that `Check.computed_by` names."""
    module, _, name = path.partition(".")
    return cast("type[CheckGroup]", getattr(import_module(f"torchserve_drift.checks.{module}"), name))
