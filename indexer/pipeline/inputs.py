"""What a build reads from, as it was when the build began: what was replaced since is not mixed with what was read."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from indexer.sources.protocol import UnreachableError, Version
from indexer.sources.remote import ask_patiently
from wildsat_core.addresses import http_address, public_name, same_when_signed_anew, store_address
from wildsat_core.collection.store import open_store
from wildsat_core.errors import MissingExtraError, SourceError
from wildsat_core.errors import UnreachableError as StoreError
from wildsat_core.files import write_text_atomically

logger = logging.getLogger(__name__)

# How GDAL's names of files in archives begin, before that of the archive.
_ARCHIVE: Final = re.compile(r"(/vsi(zip|tar|gzip|7z|rar)/\{?)+")


@dataclass(frozen=True, slots=True)
class InputState:
    """Files and addresses at a moment.

    Attributes:
        first: name of the first of them.
        bytes: of all together.
        changed: the latest time that one of them was changed.
        marks: (N,) sorted; one number for each, of its name, size, time and ETag.
        untold: why one that is in object storage has no mark; empty where all have one.
    """

    first: str
    bytes: int
    changed: str
    marks: npt.NDArray[np.uint64]
    untold: str = ""

    @classmethod
    def of(cls, inputs: Iterable[str | Version]) -> Self:
        """Look at each file, and ask the server of each address; a file that is not there plays no part.

        Raises:
            UnreachableError: a server is busy, or does not answer or give the file: what it has can't be known.
            NotAPictureError: it has no such file.
        """
        first, total, newest, marks, untold = "", 0, 0.0, [], ""
        for one in inputs:
            try:
                facts = _facts(one)
            except (MissingExtraError, StoreError) as err:
                untold = str(err)
                continue
            if facts is None:
                continue
            size, changed_s, mark = facts
            name = one.name if isinstance(one, Version) else one
            first, total, newest = first or public_name(name), total + size, max(newest, changed_s)
            told = f"{same_when_signed_anew(name)}\0{size}\0{mark}"
            marks.append(int.from_bytes(hashlib.sha256(told.encode("utf-8", "surrogateescape")).digest()[:8], "big"))
        when = dt.datetime.fromtimestamp(newest, dt.UTC).isoformat(" ", "seconds") if newest else "no time told"
        return cls(first, total, when, np.unique(np.array(marks, np.uint64)), untold)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, KeyError or TypeError for a damaged text."""
        facts = json.loads(text)
        marks = np.frombuffer(base64.b64decode(facts["marks"]), "<u8").astype(np.uint64)
        return cls(facts["first"], facts["bytes"], facts["changed"], marks, facts.get("untold", ""))

    def to_json(self) -> str:
        marks = base64.b64encode(self.marks.astype("<u8").tobytes()).decode("ascii")
        told = {"first": self.first, "bytes": self.bytes, "changed": self.changed, "untold": self.untold}
        return json.dumps(told | {"marks": marks})

    def difference(self, now: InputState) -> str | None:
        """What of this was changed or taken away since, None for nothing; what was added does no harm."""
        gone = int((~np.isin(self.marks, now.marks)).sum())
        if not gone:
            return None
        if len(self.marks) == 1 and self.bytes:
            return f"{self.first} had {self.bytes:,} bytes, changed {self.changed}; it has {now.bytes:,}, {now.changed}"
        told = f"{gone:,} of {len(self.marks):,} files or scenes (the first is {self.first}) were changed or taken away"
        if self.changed == now.changed:
            return told
        return f"{told}; the latest change was {self.changed}, it is {now.changed}"

    def warn_if_untold(self) -> None:
        """Say that a change would not be noticed."""
        if self.untold:
            logger.warning(
                "whether imagery is replaced while this build is interrupted can't be known: %s", self.untold
            )


def check_since(before: InputState, now: InputState, since: str, go_on: str) -> None:
    """Refuse to go on with what was begun from other files.

    Args:
        before: as it was then.
        now: as it is.
        since: when that was, as "the build was planned".
        go_on: what to do when something was changed, as "name a new folder".

    Raises:
        SourceError: something was changed, or that can't be known.
    """
    if now.untold and not before.untold:
        raise SourceError(
            f"whether the imagery was changed since {since} can't be known: {now.untold}. Give the same command again "
            f"when it can, or {go_on}"
        )
    if told := before.difference(now):
        raise SourceError(
            f"the imagery was changed since {since}: {told}. Tiles of both would be mixed: put back what was there, or "
            f"{go_on}"
        )


def check_meanwhile(before: InputState, source: object, go_on: str) -> None:
    """Refuse to publish what was read from one file that was replaced meanwhile.

    Where each tile is a file of its own, each shows what was there when it was read.

    Args:
        before: as it was when reading began.
        source: what is read. One without a method `inputs` is taken to be always the same.
        go_on: what to do when it was changed, as a sentence.

    Raises:
        SourceError: it was, or that can't be known.
    """
    if len(before.marks) != 1:
        return
    try:
        now = inputs_of(source)
        if now.untold and not before.untold:
            raise UnreachableError(now.untold)
    except UnreachableError as err:
        raise SourceError(
            f"whether the imagery was changed while it was read can't be known: {err}. Nothing was published; give "
            "the same command again when the server answers"
        ) from err
    if told := before.difference(now):
        raise SourceError(
            f"the imagery was changed while it was read: {told}. Nothing was published. To go on, {go_on}"
        )


def inputs_of(source: object) -> InputState:
    """What a source reads from, as it is now."""
    inputs: Callable[[], Iterable[str | Version]] = getattr(source, "inputs", tuple)
    return InputState.of(inputs())


class InputGuard:
    """Remembers what a build reads from, in a file that is there as long as the build is unfinished.

    Args:
        path: the file.
        source: what is read. One without a method `inputs` is taken to be always the same.
        go_on: what to do when something was changed, as a sentence.
    """

    def __init__(self, path: Path, source: object, go_on: str) -> None:
        """Look at the inputs."""
        self._path, self._source, self._go_on = path, source, go_on
        self._before = inputs_of(source)
        self._before.warn_if_untold()

    def begin(self, *, goes_on: bool) -> None:
        """At the start of a build.

        Args:
            goes_on: whether tiles of an interrupted run are taken over.

        Raises:
            SourceError: they were read from something else than what is there now.
        """
        if goes_on and (saved := self._saved()) is not None:
            check_since(saved, self._before, "the interrupted build began", self._go_on)
            return
        if len(self._before.marks):
            write_text_atomically(self._path, self._before.to_json())

    def finish(self) -> None:
        """Before the tiles are published; forgets the inputs.

        Raises:
            SourceError: as `check_meanwhile`.
        """
        check_meanwhile(self._before, self._source, self._go_on)
        self._path.unlink(missing_ok=True)

    def _saved(self) -> InputState | None:
        try:
            return InputState.from_json(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _facts(one: str | Version) -> tuple[int, float, str] | None:
    """Size, time of change and what else marks an input; None where there is none.

    Raises:
        UnreachableError, NotAPictureError: an HTTP server does not give it.
        MissingExtraError, StoreError: object storage can't be asked; GDAL may well be able to read from it.
    """
    if isinstance(one, Version):
        return 0, one.changed_s, one.mark
    if (address := http_address(one)) is not None:
        return _ask(address, one)
    if (address := store_address(one)) is not None:
        return _ask_store(address)
    return _look(one)


def _ask_store(address: str) -> tuple[int, float, str] | None:
    """The same of an object."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    found = open_store(f"{scheme}://{bucket}").version(key)
    if found is None:
        return None
    stored, etag = found
    return stored.bytes, stored.written_at.timestamp(), f"{etag}\0{stored.written_at}"


def _look(name: str) -> tuple[int, float, str] | None:
    """Size, time of change and what else marks a file, or the archive that it is in; None where there is none."""
    path = Path(_ARCHIVE.sub("", name).replace("}", ""))
    for one in (path, *path.parents):
        try:
            facts = one.stat()
        except (OSError, ValueError):
            continue
        return None if one.is_dir() else (facts.st_size, facts.st_mtime, str(facts.st_mtime_ns))
    return None


def _ask(address: str, name: str) -> tuple[int, float, str]:
    """The same of an address, by its first byte: addresses may be signed for reading only.

    Raises:
        UnreachableError, NotAPictureError: the server does not give it.
    """
    answer = ask_patiently(address)
    if not answer.is_well:
        raise answer.error(name)
    headers = answer.headers
    whole = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    told = headers.get("last-modified", "")
    try:
        changed_s = email.utils.parsedate_to_datetime(told).timestamp()
    except ValueError:
        changed_s = 0.0
    return int(whole) if whole.isdecimal() else 0, changed_s, f"{headers.get('etag', '')}\0{told}"
