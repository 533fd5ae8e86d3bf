"""Makes baselines of random training rows, fast enough for a new one in every run.

They follow the definition of the artifact: exact counts, quantiles and edges of all training rows, and a sample of
10,000 rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detection_study.marginals import Categories, Floats, Marginal, Numbers
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import QUANTILE_LEVELS, CategoricalBaseline, NumericBaseline

SAMPLE_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Training:
    """A baseline, and the index that it gives to each category of the distributions."""

    baseline: Baseline
    indices: Mapping[int, Floats]

    def encoded(self, rows: Floats) -> Floats:
        """Rows (n, features) of the distributions as the monitor takes them; a category without training rows is -1."""
        encoded = rows.copy()
        for place, index in self.indices.items():
            known = rows[:, place] >= 0
            encoded[known, place] = index[rows[known, place].astype(np.intp)]
        return encoded


def trained(model: Mapping[str, Marginal], rng: np.random.Generator, rows: int) -> Training:
    """A baseline of ``rows`` training rows of independent features.

    Notes
    -----
    The rows are independent of each other, so that the first 10,000 are a random sample. Of categories only the counts
    are drawn (multinomial), and the counts of the sample from them (hypergeometric); both have the same distribution
    as those of real rows.
    """
    features: list[NumericBaseline | CategoricalBaseline] = []
    indices: dict[int, Floats] = {}
    for place, (name, marginal) in enumerate(model.items()):
        if isinstance(marginal, Categories):
            feature, indices[place] = _categorical(name, marginal, rng, rows, 1 / len(model))
            features.append(feature)
        else:
            features.append(_numeric(name, marginal, rng, rows, 1 / len(model)))
    baseline = Baseline(tuple(features), rows=rows, created="2026-01-01T00:00:00+00:00", seed=0, sha256="0" * 64)
    return Training(baseline, indices)


def edges_of(quantiles: Floats, maximum: float) -> Floats:
    """The bins' edges: the quantiles and the maximum."""
    return np.unique(np.append(quantiles, maximum))


def _numeric(name: str, marginal: Numbers, rng: np.random.Generator, rows: int, importance: float) -> NumericBaseline:
    values = marginal.rows(rng, rows)
    ordered = np.sort(values[~np.isnan(values)])
    quantiles = np.quantile(ordered, QUANTILE_LEVELS)
    edges = edges_of(quantiles, float(ordered[-1]))
    return NumericBaseline(
        name=name,
        count=len(ordered),
        missing=rows - len(ordered),
        invalid=0,
        mean=float(ordered.mean()),
        std=float(ordered.std(ddof=1)),
        minimum=float(ordered[0]),
        maximum=float(ordered[-1]),
        quantiles=quantiles,
        edges=edges,
        edge_counts=ordered.searchsorted(edges, "right").astype(np.int64),
        sample=values[: min(rows, SAMPLE_ROWS)].copy(),
        importance=importance,
    )


def _categorical(
    name: str, marginal: Categories, rng: np.random.Generator, rows: int, importance: float
) -> tuple[CategoricalBaseline, Floats]:
    counts = rng.multinomial(rows, marginal.shares)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    index = np.full(len(counts), -1.0)
    index[order] = np.arange(len(order))
    kept = counts[order]
    sampled = rng.multivariate_hypergeometric(kept, min(rows, SAMPLE_ROWS), method="marginals")
    sample: npt.NDArray[np.uint16] = np.repeat(np.arange(len(order), dtype=np.uint16), sampled)
    rng.shuffle(sample)
    # numbers of equal width, so that categories of equal counts are in the order of their names
    names = tuple(f"c{place:04d}" for place in order)
    return CategoricalBaseline(name, names, kept.astype(np.int64), 0, sample, importance), index
