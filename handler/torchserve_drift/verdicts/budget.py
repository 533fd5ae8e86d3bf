"""The alarm budget: the level of each check of each feature in each window, at each look.

A look is one evaluation of one window. The level is the alpha with which the check's p-value is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from torchserve_drift.baseline.profile import FeatureBaseline
from torchserve_drift.checks.catalogue import CHECKS, FEWEST_JOINT_FEATURES, JOINT
from torchserve_drift.settings.settings import Window
from torchserve_drift.verdicts.report import JOINT_NAME

JOINT_WEIGHT = 0.03
"""The joint distribution's share of the budget, if the baseline has enough features for it."""

JOINT_LOOKS = 16
"""How often the joint check runs per window length. It is the costliest check, and its sample changes slowly."""

EVERY_LOOK = 0.25
"""The share of a window's budget that is spent on all looks equally, where panes last for several looks. The rest is
spent on the looks at which a pane has closed."""


@dataclass(frozen=True)
class BudgetItem:
    """A feature or the joint distribution (whose ``kind`` is "joint"): each has a share of the budget.

    ``importance`` is the feature's weight in the score, in [0, 1]; half of the budget is divided by it.
    """

    name: str
    kind: str
    importance: float


def items_of(features: Sequence[FeatureBaseline]) -> list[BudgetItem]:
    """An item for each feature and, if there are `FEWEST_JOINT_FEATURES` or more, one for their joint distribution."""
    items = [BudgetItem(feature.name, feature.kind, feature.importance) for feature in features]
    if len(items) < FEWEST_JOINT_FEATURES:
        return items
    # a feature may have the name of the joint distribution, and names in a report must differ
    name = JOINT_NAME
    while any(item.name == name for item in items):
        name = f"_{name}"
    return [*items, BudgetItem(name, JOINT, 0.0)]


@dataclass(frozen=True)
class Budget:
    """The alarm budget: at most one false alarm is expected in ``interval`` seconds.

    The levels of all looks of an interval, over all items, checks and windows, sum to at most 1. Without drift each
    p-value is below its level with at most the probability of that level. So at most one p-value per interval is
    expected below its level, however the p-values depend on each other (union bound).

    Attributes
    ----------
    items
        The features and the joint distribution.
    weights
        Each item's share of the budget; they sum to 1.
    windows
        The windows in the order of the settings: the first has the largest share.
    panes
        The number of panes in a window.
    every
        Seconds between looks.
    interval
        Seconds in which one false alarm is allowed.
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
        """The budget of ``items``; the importances of the features sum to 1.

        Half of the features' budget is divided equally and half by importance, so that a feature without importance is
        checked too.
        """
        count = sum(item.kind != JOINT for item in items)
        rest = 1 - JOINT_WEIGHT if count < len(items) else 1.0
        weights = tuple(
            JOINT_WEIGHT if item.kind == JOINT else rest * (0.5 / count + 0.5 * item.importance) for item in items
        )
        return cls(tuple(items), weights, tuple(windows), panes, every, interval)

    def raised(self, closed: Sequence[bool], judged: Sequence[bool]) -> float:
        """The factor, 1 or more, by which the windows with a verdict may raise their levels at a look.

        A window with too few rows spends nothing. The others get its part in proportion to their own, so that the
        levels of the look have the same sum. With little traffic the shortest window, which has the largest part, has
        hardly ever a verdict.

        Parameters
        ----------
        closed
            For each window whether one of its panes has closed since the last look.
        judged
            For each window whether it has a verdict at this look.

        Examples
        --------
        >>> windows = [Window("10m", 600.0), Window("1h", 3600.0)]
        >>> budget = Budget.of([BudgetItem("x", "numeric", 1.0)], windows, panes=32, every=15.0, interval=30 * 86400.0)
        >>> round(budget.raised([True, True], [True, True]), 3), round(budget.raised([False, False], [True, False]), 3)
        (1.0, 1.125)
        """
        at_look = [levels[of_pane] for levels, of_pane in zip(self._levels, closed)]
        spent = sum(level for level, has_verdict in zip(at_look, judged) if has_verdict)
        return sum(at_look) / spent if spent > 0 else 1.0

    def level(self, item: int, check: str, window: int, *, closed: bool) -> float:
        """The level of one check at one look.

        A long window hardly changes from look to look. So most of its budget is spent on looks at which one of its
        panes has just closed: these are few, and each can have a larger level.

        Parameters
        ----------
        item, window
            Positions in ``items`` and ``windows``.
        check
            A check that the item's kind has.
        closed
            Whether a pane of the window has closed since the last look.
        """
        kind = self.items[item].kind
        share = CHECKS[check].budget[kind] * self.weights[item]
        if kind == JOINT:  # it is not checked at every look, so each of its looks can have a larger level
            return share * self._shares[window] * max(self.every, self._joint_seconds(window) or 0.0) / self.interval
        return share * self._levels[window][closed]

    @cached_property
    def _levels(self) -> list[tuple[float, float]]:
        """For each window the sum of its levels at a look, without and with a pane that has closed since the last."""
        return [
            (
                share * self._seconds_of_budget(w, False) / self.interval,
                share * self._seconds_of_budget(w, True) / self.interval,
            )
            for w, share in enumerate(self._shares)
        ]

    @cached_property
    def _shares(self) -> list[float]:
        """Each window's share of the budget: the n-th window has an n-th of the share of the first."""
        raw = [1 / n for n in range(1, len(self.windows) + 1)]
        return [each / sum(raw) for each in raw]

    def closes(self, window: int, before: float, now: float) -> bool:
        """Whether a pane of the window has closed between looks at ``before`` and ``now``, in seconds.

        Always true for a window of rows.
        """
        seconds = self._pane_seconds(window)
        return seconds is None or int(before // seconds) != int(now // seconds)

    def looks_jointly(self, window: int, before: Optional[float], now: float) -> bool:
        """Whether the joint distribution is checked at a look at ``now``, after one at ``before`` (seconds).

        A window of rows is checked at every look, a window of time `JOINT_LOOKS` times per window length.
        """
        seconds = self._joint_seconds(window)
        return before is None or seconds is None or int(before // seconds) != int(now // seconds)

    def quiet_seconds(self, window: int, least: float) -> float:
        """The seconds without a failed check after which drift ends: ``least``, or two panes of the window if longer.

        A long window has its full level only when a pane closes, so drift must not end before two have closed.
        """
        seconds = self._pane_seconds(window)
        return least if seconds is None else max(least, 2 * seconds)

    def _joint_seconds(self, window: int) -> Optional[float]:
        seconds = self.windows[window].seconds
        return None if seconds is None else seconds / JOINT_LOOKS

    def _pane_seconds(self, window: int) -> Optional[float]:
        seconds = self.windows[window].seconds
        return None if seconds is None else seconds / self.panes

    def _seconds_of_budget(self, window: int, closed: bool) -> float:
        """How many seconds' worth of budget one look spends. Over all looks of an interval they sum to the interval.

        Where panes last for several looks, most of a pane's seconds go to the look after its end.
        """
        pane = self._pane_seconds(window)
        if pane is None or pane <= 2 * self.every:
            return self.every
        return EVERY_LOOK * self.every + (1 - EVERY_LOOK) * pane * closed
