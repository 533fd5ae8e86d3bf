"""Names and numbers as Prometheus has them: label values that are different where names are, bounds that join."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client.utils import floatToGoString


@lru_cache(maxsize=10_000)
def label(value: object) -> str:
    """The value as text that UTF-8 can hold; lone surrogates, as JSON may bring them, are replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", str(value))


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A label for each different name, none twice nor in ``taken``, in the order of the names.

    Examples
    --------
    >>> distinct(["a", "b", "a", "__other__"], taken=["__other__"])
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


def bound(value: float) -> str:
    """An upper bound as Prometheus itself writes it, so that ``le`` of gauges and of histograms join.

    Examples
    --------
    >>> bound(2), bound(-1234567.0), bound(-0.0), bound(float("inf"))
    ('2.0', '-1.234567e+06', '0.0', '+Inf')
    """
    text = number(abs(value))
    return text if value >= 0 else "-" + text.lstrip("+")


def number(value: float) -> str:
    """A value in the spelling of prometheus_client."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # the library has no types here
