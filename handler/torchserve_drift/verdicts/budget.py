"""How the alarm budget is spent: the level of each check of each feature in each window, at each look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from torchserve_drift.baseline.profile import FeatureBaseline
from torchserve_drift.settings.settings import Window
from torchserve_drift.verdicts.report import JOINT

NUMERIC_SHARES: Mapping[str, float] = {
    "cusum": 0.90,
    "ks": 0.03,
    "mean": 0.01,
    "std": 0.01,
    "range": 0.02,
    "missing": 0.02,
    "wrong_type": 0.01,
}
CATEGORICAL_SHARES: Mapping[str, float] = {
    "cusum": 0.90,
    "chi2": 0.03,
    "frequency": 0.02,
    "new_category": 0.02,
    "missing": 0.02,
    "wrong_type": 0.01,
}
JOINT_SHARES: Mapping[str, float] = {"joint": 1.0}

SHARES: Mapping[str, Mapping[str, float]] = {
    "numeric": NUMERIC_SHARES,
    "categorical": CATEGORICAL_SHARES,
    "joint": JOINT_SHARES,
}
"""How a feature's part of the budget is shared among its checks: what is surest to find drift first has the most."""

JOINT_WEIGHT = 0.03
"""The part of the budget that the joint distribution has, where it is looked at."""

FEWEST_JOINT = 2
"""Features, below which nothing is looked at jointly."""

JOINT_LOOKS = 16
"""In the length of a window of time: the joint distribution, whose look costs most, needs the whole window's sample,
which hardly changes in between."""

EVERY_LOOK = 0.25
"""Of a window whose panes outlast several looks: the part for looks at which no pane has closed."""


@dataclass(frozen=True)
class Part:
    """Who spends: a feature, or the joint distribution (``kind`` "joint"); ``importance`` in [0, 1]."""

    name: str
    kind: str
    importance: float


def parts_of(features: Sequence[FeatureBaseline]) -> list[Part]:
    """A part for each feature and, of `FEWEST_JOINT` features or more, one for the joint distribution of all."""
    parts = [Part(feature.name, feature.kind, feature.importance) for feature in features]
    if len(parts) < FEWEST_JOINT:
        return parts
    name = JOINT
    while any(part.name == name for part in parts):
        name = f"_{name}"
    return [*parts, Part(name, "joint", 0.0)]


@dataclass(frozen=True)
class Budget:
    """At most one false alarm in ``interval`` seconds is to be expected.

    The levels of all looks of an interval sum to 1, over parts (features and the joint distribution), their checks,
    windows and looks; by the union bound so many p-values below their level are expected, however dependent, while
    nothing drifts: each is at most its level likely. ``every`` seconds lie between looks; ``panes`` are in a window.
    """

    parts: tuple[Part, ...]
    weights: tuple[float, ...]
    windows: tuple[Window, ...]
    panes: int
    every: float
    interval: float

    @classmethod
    def of(
        cls, parts: Sequence[Part], windows: Sequence[Window], *, panes: int, every: float, interval: float
    ) -> Budget:
        """The budget of features whose importances sum to 1, and, where it is looked at, of the joint distribution.

        Half of the features' budget is theirs in equal parts, half by importance.
        """
        count = sum(part.kind != "joint" for part in parts)
        rest = 1 - JOINT_WEIGHT if count < len(parts) else 1.0
        weights = tuple(
            JOINT_WEIGHT if part.kind == "joint" else rest * (0.5 / count + 0.5 * part.importance) for part in parts
        )
        return cls(tuple(parts), weights, tuple(windows), panes, every, interval)

    def level(self, part: int, check: str, window: int, *, closed: bool) -> float:
        """The alpha of one check at one look; ``closed``: a pane of the window has closed since the last look.

        A long window hardly changes from look to look. So most of its budget is spent where one of its panes has just
        closed: these looks are few, and each may have a larger level.
        """
        kind = self.parts[part].kind
        share = SHARES[kind][check] * self.weights[part]
        if kind == "joint":
            return share * self._shares[window] * max(self.every, self._joint_seconds(window) or 0.0) / self.interval
        return share * self._levels[window][closed]

    @cached_property
    def _levels(self) -> list[tuple[float, float]]:
        """Of each window the levels of all its checks together: at a look, and at one where a pane has closed."""
        return [
            (share * self._seconds(w, False) / self.interval, share * self._seconds(w, True) / self.interval)
            for w, share in enumerate(self._shares)
        ]

    @cached_property
    def _shares(self) -> list[float]:
        """Of each window, as they are named: the n-th has an n-th of what the first has."""
        raw = [1 / n for n in range(1, len(self.windows) + 1)]
        return [each / sum(raw) for each in raw]

    def closes(self, window: int, before: float, now: float) -> bool:
        """Whether a pane of a window of time has closed between two looks; always so of one of rows."""
        seconds = self._pane_seconds(window)
        return seconds is None or int(before // seconds) != int(now // seconds)

    def looks_jointly(self, window: int, before: Optional[float], now: float) -> bool:
        """Whether the joint distribution is looked at: not always, in windows of time (`JOINT_LOOKS`)."""
        seconds = self._joint_seconds(window)
        return before is None or seconds is None or int(before // seconds) != int(now // seconds)

    def quiet_seconds(self, window: int, least: float) -> float:
        """How long a feature must have been quiet to have drifted no more: ``least``, or two panes of the window."""
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
