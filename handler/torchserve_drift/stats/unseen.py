"""Whether categories that the baseline lacks are news, or what a baseline of its size must be expected to lack."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.proportions import hypergeometric_tail

_LARGEST = 512

Counts = npt.NDArray[np.integer]


def unseen_categories_p(unseen: int, baseline_counts: Counts, window_counts: Counts) -> float:
    """An upper bound of the p-value of ``unseen`` rows in categories the baseline lacks.

    The null: all rows of baseline and window are exchangeable.

    Parameters
    ----------
    unseen
        Rows of the window in categories that the baseline lacks.
    baseline_counts, window_counts
        (C,) rows by category of the baseline, in the same order; all rows of each, not a sample.

    Returns
    -------
    p_value
        In [0, 1]; 1 where ``unseen`` is 0 or the baseline is empty.

    Notes
    -----
    After Good (1953), a new row is of an unseen category about as often as a baseline row is the only one of its own.
    But comparing these two shares by Fisher's test cries wolf, tried: 80 times too often at 1e-4, where rare categories
    come in several rows each. Instead, of all ways to deal the pooled rows to window and baseline, we bound the share
    in which as many rows of the window are of categories absent from the baseline. Those are, at most, the present
    unseen rows and the only rows of their categories that fall in the window (H, hypergeometric), and the categories
    of t >= 2 rows that fall in it whole (V rows; each does with a chance of at most ρ^t, ρ the window's share of the
    rows). Then P(H + V >= u) <= P(H >= u) + z^-u E[z^H] (E[z^V] - P(V = 0)) for every z >= 1, as the dealt rows are
    negatively associated; E[z^H] and E[z^V] are at most those of independent rows and categories.

    References
    ----------
    I. J. Good, "The population frequencies of species and the estimation of population parameters", Biometrika 40,
    1953.
    K. Joag-Dev, F. Proschan, "Negative association of random variables", Ann. Statist. 11, 1983.

    Examples
    --------
    >>> unseen_categories_p(3, np.array([9000, 900, 100]), np.array([800, 90, 10])) < 1e-3
    True
    >>> unseen_categories_p(3, np.array([9000, 900, *[1] * 100]), np.array([800, 90, *[0] * 100]))
    1.0
    """
    baseline_rows, window_rows = int(np.sum(baseline_counts)), int(np.sum(window_counts)) + unseen
    if unseen == 0 or baseline_rows == 0:
        return 1.0
    totals = np.asarray(baseline_counts) + np.asarray(window_counts)
    singles = unseen + int((totals == 1).sum())
    rows = baseline_rows + window_rows
    alone = float(hypergeometric_tail(unseen, window_rows, singles, rows))
    return min(alone + _with_whole_categories(unseen, singles, window_rows / rows, totals[totals > 1]), 1.0)


def _with_whole_categories(unseen: int, singles: int, share: float, totals: Counts) -> float:
    """The least over z of z^-u E[z^H] (E[z^V] - P(V = 0))."""
    categories = np.bincount(np.minimum(totals, _LARGEST), minlength=2)
    sizes = np.flatnonzero(categories)
    # (share z)^t falls with t, so that larger categories may count as smaller ones, only while share z <= 1
    beyond = 3.0 if categories.size <= _LARGEST else 0.0
    log_z = np.linspace(0, beyond - np.log(share), 65)[1:]
    whole = np.exp(sizes * np.log(share))
    with np.errstate(over="ignore"):
        raised = np.exp(sizes[:, None] * (np.log(share) + log_z)) - whole[:, None]
        gain = np.expm1(categories[sizes] @ np.log1p(raised)) + min(float(categories[sizes] @ whole), 1.0)
    with np.errstate(divide="ignore"):
        log = np.log(gain) - unseen * log_z + singles * np.log1p(share * np.expm1(log_z))
    return float(np.exp(min(float(log.min()), 0.0)))
