"""The errors this package raises on purpose, each one line a user can act on."""

_LONGEST_LINE = 1000


class DriftError(Exception):
    """Base of every error raised on purpose; ``str(error)`` is one line of bounded length."""

    def __str__(self) -> str:
        line = " ".join(super().__str__().splitlines())  # names of features and settings may hold line breaks
        return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


class BaselineError(DriftError):
    """A baseline cannot be built, read or trusted."""


class ConfigError(DriftError):
    """A setting has an unknown name or an impossible value."""


class ArchiveError(DriftError):
    """A model archive cannot be written or read."""


class FeatureError(DriftError):
    """Rows cannot be read as the features of the baseline."""


class RowLengthError(FeatureError):
    """A list of values is not one value for each feature."""
