"""Distributions of single features, from which training rows and traffic are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """A numeric feature; ``draw(rng, n)`` gives n values, of which a share ``missing`` is NaN."""

    family: str
    draw: Callable[[np.random.Generator, int], Floats]
    missing: float = 0.0

    def rows(self, rng: np.random.Generator, n: int) -> Floats:
        """``n`` values, NaN where missing."""
        values = self.draw(rng, n)
        if self.missing:
            values[rng.random(n) < self.missing] = np.nan
        return values


@dataclass(frozen=True, eq=False)
class Categories:
    """A categorical feature: the categories' probabilities, in falling order; values are their indices."""

    family: str
    shares: Floats

    def rows(self, rng: np.random.Generator, n: int) -> Floats:
        """``n`` indices, as float64 rows hold them."""
        steps = np.cumsum(self.shares)
        return np.minimum(steps.searchsorted(rng.random(n), "right"), len(steps) - 1).astype(np.float64)


Marginal = Numbers | Categories


def zipf(categories: int) -> Floats:
    """Shares in proportion to 1, 1/2, 1/3, ..."""
    shares = 1 / np.arange(1, categories + 1)
    return np.asarray(shares / shares.sum())


NORMAL = Numbers("normal", lambda rng, n: rng.standard_normal(n))
LOGNORMAL = Numbers("lognormal", lambda rng, n: np.exp(0.5 * rng.standard_normal(n)))

MODEL: Mapping[str, Marginal] = {
    **{f"f{i}": NORMAL for i in range(10)},
    **{f"f{i}": LOGNORMAL for i in range(10, 15)},
    "f15": Categories("5 categories", np.full(5, 0.2)),
    "f16": Categories("10 categories", zipf(10)),
    "f17": Categories("20 categories", zipf(20)),
    "f18": Categories("50 categories", zipf(50)),
    "f19": Categories("2 categories", np.array([0.9, 0.1])),
}
"""The 20 features of the model whose delays are measured."""

HOSTILE: Mapping[str, Marginal] = {
    "cauchy": Numbers("heavy-tailed", lambda rng, n: rng.standard_cauchy(n)),
    "t2": Numbers("heavy-tailed", lambda rng, n: rng.standard_t(2, n)),
    "few": Numbers("tied integers", lambda rng, n: rng.poisson(0.5, n).astype(np.float64)),
    "integers": Numbers("tied integers", lambda rng, n: rng.poisson(3.0, n).astype(np.float64)),
    "gaps": Numbers("normal, 5 % missing", lambda rng, n: rng.standard_normal(n), missing=0.05),
    "coin": Categories("2 categories", np.array([0.5, 0.5])),
    "zipf500": Categories("500 categories", zipf(500)),
}
"""Difficult features, which are added where false alarms are counted."""


def rows_of(model: Mapping[str, Marginal], rng: np.random.Generator, n: int) -> Floats:
    """Encoded rows (n, features), independent of each other and across features."""
    rows = np.empty((n, len(model)))
    for place, marginal in enumerate(model.values()):
        rows[:, place] = marginal.rows(rng, n)
    return rows
