"""Object storage: the few things that collections ask of S3, Google Cloud Storage, Azure, or a folder, through obstore.

Credentials come from the environment alone, by the names that each provider's own tools know.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from wildsat_core.addresses import without_secrets
from wildsat_core.errors import InvalidInputError, MissingExtraError, UnreachableError

_ADDRESS: Final = re.compile(r"(?:s3|gs|az)://[^/?#@\s]+(?:/[^?#@\s]*)?|file:///[^?#]*")
_TOOK: Final = re.compile(r" in [\d.]+\S?s\b")  # makes each message another one
_PATIENCE: Final = {"max_retries": 3, "retry_timeout": dt.timedelta(seconds=60)}
_CLIENT: Final = {"connect_timeout": "10s", "timeout": "600s"}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its key, size and time of writing."""

    key: str
    bytes: int
    written_at: dt.datetime


class Store:
    """Objects below an address, by keys with slashes.

    Raises:
        UnreachableError: from every method: the store does not answer, or refuses.
    """

    def __init__(self, address: str, inner: Any) -> None:  # noqa: ANN401 - one of obstore's
        """Wrap what `open_store` opened."""
        self.address = address
        self._inner = inner

    def name_of(self, key: str) -> str:
        """An object as people may name it."""
        return f"{self.address}/{key}"

    def get(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        import obstore

        with self._told(key):
            try:
                return bytes(obstore.get(self._inner, key).bytes())
            except FileNotFoundError:
                return None

    def get_into(self, key: str, file: BinaryIO | None) -> str | None:
        """Copy an object into a file, if one is given; its SHA-256, or None where there is no such object."""
        import obstore

        digest = hashlib.sha256()
        with self._told(key):
            try:
                parts = obstore.get(self._inner, key).stream()
            except FileNotFoundError:
                return None
            for part in parts:
                digest.update(part)
                if file is not None:
                    file.write(part)
        return digest.hexdigest()

    def version(self, key: str) -> tuple[Stored, str] | None:
        """An object without its bytes, and its ETag; None where there is none."""
        import obstore

        with self._told(key):
            try:
                found = obstore.head(self._inner, key)
            except FileNotFoundError:
                return None
        return Stored(found["path"], found["size"], found["last_modified"]), found["e_tag"] or ""

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, whole or not at all; one that is there is replaced."""
        import obstore

        with self._told(key):
            obstore.put(self._inner, key, content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; of several writers at once exactly one succeeds.

        Returns:
            Whether what lies there now is what was given.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._told(key):
            try:
                obstore.put(self._inner, key, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                # Perhaps by ourselves: an answer that was lost makes obstore ask again.
                return bytes(obstore.get(self._inner, key).bytes()) == content
        return True

    def listed(self, prefix: str) -> list[Stored]:
        """All objects whose keys begin with a prefix that ends with a slash."""
        import obstore

        with self._told(prefix):
            found = [one for part in obstore.list(self._inner, prefix) for one in part]
        return [Stored(one["path"], one["size"], one["last_modified"]) for one in found]

    def folders(self) -> list[str]:
        """First parts of keys that have more than one, sorted."""
        import obstore

        with self._told(""):
            return sorted(obstore.list_with_delimiter(self._inner)["common_prefixes"])

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are gone already do no harm."""
        import obstore

        for key in keys:
            with self._told(key):
                try:
                    obstore.delete(self._inner, key)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Say in words what a library's error means."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as err:
            if getattr(err, "errno", None) is not None:
                raise  # of the file that is written here
            first = _TOOK.sub("", without_secrets(str(err).partition("\n")[0]))
            raise UnreachableError(
                f"the store {self.address} does not do as asked ({key or 'list'}): {first}. Credentials and endpoint "
                "are those of the environment"
            ) from err


@lru_cache
def open_store(address: str) -> Store:
    """The store at an address: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder.

    Raises:
        InvalidInputError: not such an address, or one with a user, a password or a query in it.
        MissingExtraError: obstore is not installed.
        UnreachableError: what the environment says of credentials is incomplete.
    """
    checked = check_address(address)
    try:
        import obstore.store
        from obstore.exceptions import BaseError
    except ImportError as err:
        raise MissingExtraError("obstore", "store", "a collection in object storage") from err
    try:
        if checked.startswith("file://"):
            Path(checked.removeprefix("file://")).mkdir(parents=True, exist_ok=True)
            return Store(checked, obstore.store.from_url(checked))
        plain = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
        client = _CLIENT | ({"allow_http": True} if plain else {})  # the environment names an endpoint without TLS
        options: dict[str, Any] = {"client_options": client, "retry_config": _PATIENCE}
        if checked.startswith("s3:") and os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in (
            "YES",
            "TRUE",
            "ON",
            "1",
        ):
            options["skip_signature"] = True  # a public bucket, in GDAL's word for it
        return Store(checked, obstore.store.from_url(checked, **options))
    except (BaseError, ValueError) as err:
        first = str(err).partition("\n")[0]
        raise UnreachableError(f"the store {checked} can't be opened: {first}") from err


def check_address(address: str) -> str:
    """An address without a slash at its end.

    Raises:
        InvalidInputError: of no known kind, or with a user, a password or a query in it; it is not shown then.
    """
    if not _ADDRESS.fullmatch(address):
        raise InvalidInputError(
            "--store must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER, without "
            "user, password or query, for credentials come from the environment; got "
            f"{without_secrets(address)!r}",
            "store",
        )
    return address.rstrip("/")
