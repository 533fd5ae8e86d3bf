"""The columns of the training data that are features."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Optional

from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Kind


@dataclass(frozen=True)
class Column:
    """A feature's column in the table of `staging.staged_rows`, where its name is ``place``.

    ``is_text``: the values are cells of a CSV file, as written; numbers and booleans among them have no common spelling
    yet.
    """

    name: str
    place: str
    kind: Kind
    is_text: bool = False


def feature_names(
    names: Sequence[str],
    label: Optional[str],
    exclude: Collection[str],
    categorical: Collection[str],
    time: Collection[str] = (),
) -> list[str]:
    """The names of the columns that are features.

    Raises
    ------
    BaselineError
        When an option names no column, no column is left, or a column that is left has an empty name.
    """
    labels = [] if label is None else [label]
    options = [("label", labels), ("exclude", exclude), ("categorical", categorical), ("time", time)]
    for option, chosen in options:
        for name in chosen:
            if name not in names:
                raise BaselineError(f"--{option} must name a column of the data, got {name!r}")
    dropped = {label, *exclude, *time}
    features = [name for name in names if name not in dropped]
    if not features:
        raise BaselineError("the data must have at least one column besides label, times and excluded ones, got none")
    if "" in features:
        raise BaselineError("every column must have a name, got one without; name it, or --exclude ''")
    return features


def unusable_type(name: str, found: str) -> BaselineError:
    """The error for a column that holds ``found`` instead of numbers or categories."""
    return BaselineError(
        f"column {name!r} must hold numbers, text or booleans, got {found}; "
        f"leave it out with --exclude {shlex.quote(name)}"
    )
