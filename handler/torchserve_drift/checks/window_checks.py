"""All checks of one window: statistics, effects and p-values, before any verdict."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from torchserve_drift.checks.catalogue import CHECKS, FEWEST_JOINT
from torchserve_drift.checks.evidence import CheckedModel, CheckGroup, Evidence, WindowEvidence, WindowView
from torchserve_drift.stats.design_effect import sample_design_effect
from torchserve_drift.window.design_effects import DesignEffects
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.pacing import NO_PAUSE, Pace


class WindowChecks:
    """The checks of one model. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        self._features = model.layout.features
        self._design_effects = DesignEffects(model.profile, model.layout)
        # each group once, in the order of its first check
        self._groups = [_group(path)(model) for path in dict.fromkeys(check.computed_by for check in CHECKS.values())]

    def evidence(self, rows: WindowRows, paced: Pace = NO_PAUSE, *, jointly: bool = True) -> WindowEvidence:
        """All checks of a window; those of the joint distribution only if ``jointly``."""
        window = self._view(rows, paced, jointly=jointly)
        found: list[dict[str, Evidence]] = [{} for _ in range(self._features + 1)]
        for group in self._groups:
            for finding in group.findings(window):
                found[finding.feature][finding.check] = finding.evidence
        *features, joint = found
        design_effects = window.design_effects.tolist()
        if self._features < FEWEST_JOINT:
            return WindowEvidence(features, design_effects)
        return WindowEvidence([*features, joint if jointly else None], [*design_effects, window.sample_design_effect])

    def _view(self, rows: WindowRows, paced: Pace, *, jointly: bool) -> WindowView:
        of_spans = self._design_effects.of(rows.spans)
        sampled = rows.sample_rows / max(rows.rows, 1)
        return WindowView(
            rows,
            of_spans,
            self._design_effects.of_absence(rows.tally),
            float(sample_design_effect(of_spans[-1].max(), sampled)),
            jointly and self._features >= FEWEST_JOINT,
            paced,
        )


def _group(path: str) -> type[CheckGroup]:
    """The class that a declaration names."""
    module, _, name = path.partition(".")
    return cast("type[CheckGroup]", getattr(import_module(f"torchserve_drift.checks.{module}"), name))
