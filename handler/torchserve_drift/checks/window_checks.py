"""All checks of a model, run on one window."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Optional, cast

from torchserve_drift.checks.catalogue import CHECKS, FEWEST_JOINT_FEATURES
from torchserve_drift.checks.evidence import (
    CheckedModel,
    CheckGroup,
    Evidence,
    FeatureEvidence,
    WindowEvidence,
    WindowView,
)
from torchserve_drift.checks.time_checks import TimeChecks
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
        self._in_time = TimeChecks(model)

    def evidence(self, rows: WindowRows, paced: Pace = NO_PAUSE, *, jointly: bool = True) -> Optional[WindowEvidence]:
        """The evidence of all checks in a window; the joint distribution is checked only if ``jointly``.

        ``None`` where all features have time profiles and the window's rows lie over too little of its time.
        """
        if self._in_time.needs_more_time(rows):
            return None
        window = self._view(rows, paced, jointly=jointly)
        design_effects = window.design_effects.tolist()
        in_time = self._in_time.measured(window)
        if in_time is not None:
            correlations = self._in_time.correlations(in_time)
            for i, correlation in correlations.items():
                design_effects[i] = max(design_effects[i], 1 + rows.rows * correlation)
            largest = max(window.sample_design_effect, 1 + rows.sample_rows * max(correlations.values()))
            window = replace(window, sample_design_effect=largest)
        found: list[dict[str, Evidence]] = [{} for _ in range(self._features + 1)]
        for group in self._groups:
            for finding in group.findings(window):
                found[finding.feature][finding.check] = finding.evidence
        features: list[FeatureEvidence] = [*found[:-1]]
        joint = found[-1]
        if in_time is not None:
            for i, evidence in self._in_time.revised(window, in_time, features):
                features[i] = evidence
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
