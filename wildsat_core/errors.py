"""What can go wrong, named for what happened. Messages say what was wrong, what was seen and what to do.

The core knows no HTTP status: `app/errors.py` holds the table from these classes to statuses.
"""

from __future__ import annotations

from wildsat_core.installation import install_command


class WildsatError(Exception):
    """Base of every error that this project raises on purpose."""


class InvalidInputError(WildsatError, ValueError):
    """A value given by a user is out of range or malformed.

    Args:
        message: what was wrong, what was seen, what is allowed.
        parameter: the name of the parameter or column at fault, as the user knows it.
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        """Keep the parameter's name beside the message so that a service can name it."""
        super().__init__(message)
        self.parameter = parameter


class LimitExceededError(InvalidInputError):
    """A request is larger than the stated limit."""


class TileNotFoundError(WildsatError, KeyError):
    """No tile of this id is in the collection."""

    def __str__(self) -> str:
        """Undo KeyError's quoting: the message is a sentence."""
        return str(self.args[0]) if self.args else ""


class SpeciesNotFoundError(InvalidInputError):
    """The species table has no such name."""


class CollectionNotFoundError(WildsatError, FileNotFoundError):
    """There is no collection of this name."""


class CollectionFormatError(WildsatError, ValueError):
    """A file of a collection is missing, damaged or of an unknown format version."""


class CollectionLockedError(WildsatError):
    """Another process is writing to the collection."""


class GenerationTakenError(CollectionLockedError):
    """Another process published the generation that was to be published."""


class CacheTooSmallError(WildsatError):
    """The local copy of a collection that is kept in a store would be larger than the cache may get."""


class DiskFullError(WildsatError, OSError):
    """There was no room to write a collection's files."""


class ModelMismatchError(WildsatError):
    """A collection was made by another model than the one in use."""


class ModelNotFoundError(WildsatError, KeyError):
    """No model of this name is in the registry, and no model directory has this path."""

    def __str__(self) -> str:
        """Undo KeyError's quoting: the message is a sentence."""
        return str(self.args[0]) if self.args else ""


class CheckpointError(WildsatError, ValueError):
    """A weight file is damaged, unsafe to read, or made for another architecture."""


class CompilationError(WildsatError):
    """A network can't be compiled on this machine."""


class SpaceUnavailableError(InvalidInputError):
    """The query needs a vector space that the collection or the model does not have."""


class UnreachableError(WildsatError):
    """A cluster or a store can't be reached, or refuses."""


class ShardsMissingError(WildsatError):
    """Part of a collection can't be reached: every replica of some of its shards is gone."""

    def __init__(self, message: str, shards: frozenset[int] = frozenset()) -> None:
        """Keep which shards are gone, where they are known."""
        super().__init__(message)
        self.shards = shards


class MissingExtraError(WildsatError, ImportError):
    """An optional package is not installed.

    Args:
        package: the name to import.
        extra: the extra of this project that brings it.
        purpose: what it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Say which command installs what is missing."""
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. Install it with: "
            f"{install_command(extra)}"
        )
        self.purpose = purpose


class MissingDataError(WildsatError, FileNotFoundError):
    """A data file that a model needs is not on this machine."""


class UnsupportedVersionError(WildsatError, ImportError):
    """An installed package is of a version that is known to give wrong results."""


class SourceError(WildsatError):
    """A source of imagery can't be read as asked.

    Attributes:
        reason: in two words, for counting; the message tells the rest.
    """

    reason = "unreadable"


class TrainingError(WildsatError):
    """Training stopped: the loss is not finite, the data is too damaged, or the run can't be resumed."""
