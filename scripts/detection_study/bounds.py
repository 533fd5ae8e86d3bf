"""A bound on a rate from a count of events."""

from __future__ import annotations

from scipy.special import gammaincinv


def poisson_upper(count: int, confidence: float = 0.95) -> float:
    """The largest expectation under which ``count`` events or fewer have a probability of at least 1 - confidence.

    Examples
    --------
    >>> round(poisson_upper(0), 3)
    2.996
    """
    return float(gammaincinv(count + 1, confidence))
