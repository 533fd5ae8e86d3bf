"""The public `Baseline`: a profile of training data that can be loaded, saved and shown."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Union

from torchserve_drift.baseline import artifact, summary
from torchserve_drift.baseline.profile import Profile


@dataclass(frozen=True, eq=False)
class Baseline(Profile):
    """What production rows are compared with: the training data's profile. Immutable; safe to share between threads."""

    @classmethod
    def of(cls, profile: Profile) -> Baseline:
        """The baseline that holds ``profile``."""
        return cls(**{field.name: getattr(profile, field.name) for field in fields(Profile)})

    @classmethod
    def load(cls, path: Union[str, PathLike[str]]) -> Baseline:
        """The baseline in the file ``path``.

        Raises
        ------
        BaselineError
            When the file cannot be read, is damaged, or is no baseline; one line that names the file.
        """
        return cls.of(artifact.load(path))

    def save(self, path: Union[str, PathLike[str]]) -> Baseline:
        """Write the artifact (a temporary file, then a rename) and return the baseline with its ``sha256``."""
        return self.of(artifact.save(self, path))

    def to_dict(self) -> dict[str, Any]:
        """What `show --json` prints: everything but the samples."""
        return summary.to_dict(self)
