"""The public `Baseline`: a profile of training data that can be loaded, saved and shown."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Union

from torchserve_drift.baseline import artifact_file, summary
from torchserve_drift.baseline.profile import Profile


@dataclass(frozen=True, eq=False)
class Baseline(Profile):
    """The profile of the training data, with which production rows are compared.

    Immutable; safe to share between threads. `torchserve-drift baseline` builds it from files.
    """

    @classmethod
    def of(cls, profile: Profile) -> Baseline:
        """The baseline that holds the data of ``profile``."""
        return cls(**{field.name: getattr(profile, field.name) for field in fields(Profile)})

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
        """What `torchserve-drift show --json` prints: everything but the samples."""
        return summary.to_dict(self)
