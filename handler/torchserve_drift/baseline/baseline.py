"""The public `Baseline`: a profile of training data that can be loaded, saved and shown."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from os import PathLike
from typing import Any, Optional, Union

from torchserve_drift.baseline import artifact_file, summary
from torchserve_drift.baseline.in_memory import features_from_columns
from torchserve_drift.baseline.profile import LARGEST_CATEGORIES, LARGEST_SAMPLE, Profile
from torchserve_drift.baseline.sampling import sample_rows
from torchserve_drift.errors import BaselineError


@dataclass(frozen=True, eq=False)
class Baseline(Profile):
    """The profile of the training data, with which production rows are compared.

    Immutable; safe to share between threads. `torchserve-drift baseline` builds one from files of any size,
    `from_columns` from columns in memory.

    Examples
    --------
    >>> baseline = Baseline.from_columns({"age": [31, 47, None, 52], "city": ["Ulm", "Bonn", "Ulm", "Ulm"]})
    >>> age, city = baseline.features
    >>> age.count, age.missing, age.maximum
    (3, 1, 52.0)
    >>> city.categories, city.counts.tolist()
    (('Ulm', 'Bonn'), [3, 1])
    """

    @classmethod
    def of(cls, profile: Profile) -> Baseline:
        """The baseline that holds the data of ``profile``."""
        # not dataclasses.asdict, which would copy all arrays
        return cls(**{field.name: getattr(profile, field.name) for field in fields(Profile)})

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Sequence[Any]],
        *,
        categorical: Collection[str] = (),
        rows: int = 10_000,
        seed: int = 0,
        created: Optional[str] = None,
    ) -> Baseline:
        """The baseline of training data in memory. This needs NumPy only, and gives no spans of training time.

        It is the same as that of `torchserve-drift baseline`, except that means, standard deviations and quantiles may
        differ in their last digits, which NumPy and DuckDB round differently. The edges of bins are quantiles, so a
        value that differs from an edge in these digits only may be counted in the next bin.

        Parameters
        ----------
        columns
            Feature name to values (m,), an array or a list: numbers, texts or booleans; None and NaN are missing.
            Columns of numbers are numeric features, all others are categorical.
        categorical
            Columns of numbers that are categories.
        rows
            Rows in the sample, 1 to 32,000; all rows when there are fewer.
        seed
            Random seed for drawing the sample, 0 to 2**63 - 1.
        created
            Time of creation, ISO 8601 in UTC; by default now, or ``SOURCE_DATE_EPOCH``.

        Raises
        ------
        BaselineError
            When there is no column or no row, columns have different lengths, a value is neither number, text nor
            boolean, or a column has more than 65,000 categories.
        """
        if not 1 <= rows <= LARGEST_SAMPLE:
            raise BaselineError(f"rows must be an integer from 1 to {LARGEST_SAMPLE}, got {rows!r}")
        lengths = {name: len(values) for name, values in columns.items()}
        total = min(lengths.values(), default=0)
        if not total or len(set(lengths.values())) > 1:
            raise BaselineError(f"columns must be one or more, all of the same length above 0, got lengths {lengths}")
        features = tuple(features_from_columns(columns, categorical, sample_rows(total, rows, seed)))
        for feature in features:
            if len(feature.feature.categories) > LARGEST_CATEGORIES:
                raise BaselineError(
                    f"column {feature.name!r} must have at most {LARGEST_CATEGORIES} categories, got more"
                )
        return cls(features, total, creation_time() if created is None else created, seed)

    @classmethod
    def load(cls, path: Union[str, PathLike[str]]) -> Baseline:
        """The baseline in the file ``path``.

        Raises
        ------
        BaselineError
            When the file cannot be read, is damaged, or is not a baseline; one line that names the file.
        """
        return cls.of(artifact_file.load_file(path))

    def save(self, path: Union[str, PathLike[str]]) -> Baseline:
        """Write the baseline to the file ``path`` and return it with its ``sha256``.

        Raises
        ------
        BaselineError
            When the baseline contradicts itself, or the file cannot be written.
        """
        return self.of(artifact_file.save_file(self, path))

    def to_dict(self) -> dict[str, Any]:
        """The baseline without its samples, as data for JSON: the output of `torchserve-drift show --json`."""
        return summary.to_dict(self)


def creation_time() -> str:
    """The current time, or that of ``SOURCE_DATE_EPOCH`` (seconds since 1970), in ISO 8601 and UTC.

    Raises
    ------
    BaselineError
        When ``SOURCE_DATE_EPOCH`` is not a number of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        moment = datetime.fromtimestamp(int(epoch), timezone.utc) if epoch else datetime.now(timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise BaselineError(f"SOURCE_DATE_EPOCH must be seconds since 1970, got {epoch!r}") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
