"""Names and numbers as Prometheus writes them: distinct label values for distinct names, bounds that join."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client.utils import floatToGoString


@lru_cache(maxsize=10_000)
def label(value: object) -> str:
    """The value as text that UTF-8 can encode; each lone surrogate, which JSON can contain, becomes U+FFFD."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(value))


def distinct_labels(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A label for each distinct name, in the order of the names. No two are equal, and none is in ``taken``.

    Examples
    --------
    >>> distinct_labels(["a", "b", "a", "__other__"], taken=["__other__"])
    {'a': 'a', 'b': 'b', '__other__': '__other___'}
    """
    used = set(taken)
    labels: dict[str, str] = {}
    for name in names:
        if name not in labels:
            text = label(name)
            while text in used:
                text += "_"
            used.add(text)
            labels[name] = text
    return labels


def bound_label(value: float) -> str:
    """An upper bound as Prometheus itself writes it, so that ``le`` of gauges and of histograms join.

    Examples
    --------
    >>> bound_label(2), bound_label(-1234567.0), bound_label(-0.0), bound_label(float("inf"))
    ('2.0', '-1.234567e+06', '0.0', '+Inf')
    """
    # prometheus_client writes only positive numbers the way Prometheus does
    text = sample_text(abs(value))
    return text if value >= 0 else "-" + text.lstrip("+")


def sample_text(value: float) -> str:
    """The value of a sample as prometheus_client writes it."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # the library has no types here
