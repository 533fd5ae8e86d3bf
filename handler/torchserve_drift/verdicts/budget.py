"""How the alarm budget is spent: the level of each check of each feature in each window, at each look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from torchserve_drift.baseline.profile import FeatureBaseline
from torchserve_drift.checks.catalogue import CHECKS, FEWEST_JOINT, JOINT
from torchserve_drift.settings.settings import Window
from torchserve_drift.verdicts.report import JOINT_NAME

JOINT_WEIGHT = 0.03
"""The joint distribution's part of the budget, where there are features enough to check it."""

JOINT_LOOKS = 16
"""How often the joint check runs per window length. It is the costliest check, and its sample changes slowly."""

EVERY_LOOK = 0.25
"""Of a window whose panes last for several looks: the part of its level for looks at which no pane has closed."""


@dataclass(frozen=True)
class BudgetItem:
    """What has a part of the budget: a feature, or the joint distribution (``kind`` "joint").

    ``importance`` in [0, 1]: the feature's weight in the score, and in half of the budget.
    """

    name: str
    kind: str
    importance: float


def items_of(features: Sequence[FeatureBaseline]) -> list[BudgetItem]:
    """An item for each feature and, of `FEWEST_JOINT` features or more, one for their joint distribution."""
    items = [BudgetItem(feature.name, feature.kind, feature.importance) for feature in features]
    if len(items) < FEWEST_JOINT:
        return items
    name = JOINT_NAME
    while any(item.name == name for item in items):
        name = f"_{name}"
    return [*items, BudgetItem(name, JOINT, 0.0)]


@dataclass(frozen=True)
class Budget:
    """The alarm budget: at most one false alarm is expected in ``interval`` seconds.

    The levels of all looks of an interval sum to 1, over items (features and the joint distribution), their checks,
    windows and looks. While nothing drifts each p-value is below its level with at most that probability; so, by the
    union bound, at most one is expected to be, however dependent they are. ``every`` seconds lie between looks;
    ``panes`` are in a window.
    """

    items: tuple[BudgetItem, ...]
    weights: tuple[float, ...]
    windows: tuple[Window, ...]
    panes: int
    every: float
    interval: float

    @classmethod
    def of(
        cls, items: Sequence[BudgetItem], windows: Sequence[Window], *, panes: int, every: float, interval: float
    ) -> Budget:
        """The budget of features whose importances sum to 1 and, if it is an item, of the joint distribution.

        Half of the features' budget is divided equally, half by importance.
        """
        count = sum(item.kind != JOINT for item in items)
        rest = 1 - JOINT_WEIGHT if count < len(items) else 1.0
        weights = tuple(
            JOINT_WEIGHT if item.kind == JOINT else rest * (0.5 / count + 0.5 * item.importance) for item in items
        )
        return cls(tuple(items), weights, tuple(windows), panes, every, interval)

    def level(self, item: int, check: str, window: int, *, closed: bool) -> float:
        """The alpha of one check at one look; ``closed``: a pane of the window has closed since the last look.

        A long window hardly changes from look to look. So most of its budget is spent on looks at which one of its
        panes has just closed: these are few, and each can have a larger level.
        """
        kind = self.items[item].kind
        share = CHECKS[check].budget[kind] * self.weights[item]
        if kind == JOINT:
            return share * self._shares[window] * max(self.every, self._joint_seconds(window) or 0.0) / self.interval
        return share * self._levels[window][closed]

    @cached_property
    def _levels(self) -> list[tuple[float, float]]:
        """For each window the level of all its checks together, at any look and at one at which a pane has closed."""
        return [
            (share * self._seconds(w, False) / self.interval, share * self._seconds(w, True) / self.interval)
            for w, share in enumerate(self._shares)
        ]

    @cached_property
    def _shares(self) -> list[float]:
        """Each window's part of the budget: the n-th has an n-th of what the first has."""
        raw = [1 / n for n in range(1, len(self.windows) + 1)]
        return [each / sum(raw) for each in raw]

    def closes(self, window: int, before: float, now: float) -> bool:
        """Whether a pane of the window has closed between two looks; always true for a window of rows."""
        seconds = self._pane_seconds(window)
        return seconds is None or int(before // seconds) != int(now // seconds)

    def looks_jointly(self, window: int, before: Optional[float], now: float) -> bool:
        """Whether this look is at the joint distribution; in windows of time not every look is (`JOINT_LOOKS`)."""
        seconds = self._joint_seconds(window)
        return before is None or seconds is None or int(before // seconds) != int(now // seconds)

    def quiet_seconds(self, window: int, least: float) -> float:
        """After how many seconds without a failed check drift ends: ``least``, or two panes of the window."""
        seconds = self._pane_seconds(window)
        return least if seconds is None else max(least, 2 * seconds)

    def _joint_seconds(self, window: int) -> Optional[float]:
        seconds = self.windows[window].seconds
        return None if seconds is None else seconds / JOINT_LOOKS

    def _pane_seconds(self, window: int) -> Optional[float]:
        seconds = self.windows[window].seconds
        return None if seconds is None else seconds / self.panes

    def _seconds(self, window: int, closed: bool) -> float:
        pane = self._pane_seconds(window)
        if pane is None or pane <= 2 * self.every:
            return self.every
        return EVERY_LOOK * self.every + (1 - EVERY_LOOK) * pane * closed
