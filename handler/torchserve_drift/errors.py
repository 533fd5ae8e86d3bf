"""The errors that this package raises on purpose. Each message is one line that a user can act on."""

_LONGEST_LINE = 1000


class DriftError(Exception):
    """Base of all errors that are raised on purpose. ``str(error)`` is one line of at most 1,000 characters."""

    def __str__(self) -> str:
        # The names of features and settings come from users and may contain line breaks.
        line = " ".join(super().__str__().splitlines())
        return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


class BaselineError(DriftError):
    """A baseline cannot be built or read, or its contents are not valid."""


class ConfigError(DriftError):
    """A setting has an unknown name or a value that is not allowed."""


class ArchiveError(DriftError):
    """A model archive cannot be written or read."""


class FeatureError(DriftError):
    """Rows cannot be read as the features of the baseline."""


class RowLengthError(FeatureError):
    """A list of values does not have exactly one value for each feature."""
