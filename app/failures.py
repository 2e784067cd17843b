"""What the service refuses for reasons of its own; app/errors.py turns it, and what the core refuses, into answers."""

from __future__ import annotations

from wildsat_core.errors import InvalidInputError, WildsatError


class OverloadedError(WildsatError):
    """More searches are waiting than the service takes on."""


class ClientGoneError(WildsatError):
    """The client went before its turn came; nobody reads the answer."""


class RateLimitedError(WildsatError):
    """A client has used up its budget of requests."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        """Keep the time until the next request is allowed."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeyRequiredError(WildsatError):
    """The request has no known API key."""


class BodyTooLargeError(InvalidInputError):
    """A body has more bytes, or a picture more pixels, than allowed."""


class UnexpectedBodyError(WildsatError):
    """A body came to an address that takes none."""


class UnsupportedMediaError(InvalidInputError):
    """An uploaded file is of a kind that is not read."""


class NotServedError(WildsatError):
    """The collection exists but can't be served now."""


class GenerationChangedError(WildsatError):
    """A page of a ranking was asked for whose collection has changed since its first page."""
