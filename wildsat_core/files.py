"""Files that are either whole or absent: written aside, flushed to disk, then renamed into place."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wildsat_core.errors import DiskFullError, InvalidInputError

TEMPORARY_PREFIX = ".tmp-"
ABANDONED_S = 24 * 3600.0  # nothing is written for so long, so what is temporary and older has no writer any more


def name_aside(name: str) -> str:
    """A temporary name for what is to be called `name`; no two writers get the same one."""
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{name}"


def is_abandoned(path: Path, *, older_than_s: float = ABANDONED_S) -> bool:
    """Whether nothing in a temporary file or folder was written for so long: its writer was killed."""
    try:
        newest: float = max(one.stat().st_mtime for one in (path, *(path.iterdir() if path.is_dir() else ())))
    except FileNotFoundError:  # another writer has just finished it, or swept it up
        return False
    return time.time() - newest > older_than_s


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file or a folder's entries to disk; a rename is only durable after its folder is flushed.

    Windows can flush neither a folder nor what is open for reading: there, a power failure may undo what was renamed.
    """
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """Replace a file by one with this text; a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_aside(path) as file:
        file.write(text.encode())
    fsync_path(path.parent)


def put_text_if_absent(path: Path, text: str) -> bool:
    """Write a file whole unless there is one; of several writers at once exactly one succeeds.

    Returns:
        Whether this one did.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(name_aside(path.name))
    try:
        with aside.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _name_if_absent(aside, path)
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    fsync_path(path.parent)
    return True


def _name_if_absent(aside: Path, path: Path) -> None:
    """Give a whole file its name, unless something has it.

    Raises:
        FileExistsError: something has.
    """
    try:
        os.link(aside, path)  # fails where there is one, which a rename would replace
    except FileExistsError:
        raise
    except OSError:  # a file system without links: who holds the writer's lock is alone, others may miss each other
        if path.exists():
            raise FileExistsError(path) from None
        aside.replace(path)


@contextmanager
def file_aside(path: Path) -> Iterator[BinaryIO]:
    """A file aside, which is flushed and takes the place of `path` when the block ends, and goes when it fails.

    The caller flushes the folder.
    """
    aside = path.with_name(name_aside(path.name))
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def remove_abandoned(path: Path) -> None:
    """Remove what a killed writer left; another one may be sweeping at the same time."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def require_new(folder: Path, option: str) -> None:
    """Refuse a folder that something lies in, before work begins whose result would overwrite it.

    Args:
        folder: where a result is to go; made by whoever writes it.
        option: how the user named it.

    Raises:
        InvalidInputError: it is a file, or not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInputError(f"{folder} is there already; name another with --{option}, or remove it", option)


@contextmanager
def advice_when_full(root: Path) -> Iterator[None]:
    """Say it in words when the block runs out of room on the disk of `root`.

    Raises:
        DiskFullError: in place of the library's own error.
    """
    try:
        yield
    except (OSError, sqlite3.OperationalError) as err:
        if not is_disk_full(err):
            raise
        raise DiskFullError(
            f"the disk of {root} is full ({err}); nothing was published: make room and give the same command again"
        ) from err


def is_disk_full(err: Exception) -> bool:
    """Whether a fault of writing is for want of room, which some libraries tell in words alone."""
    if isinstance(err, sqlite3.OperationalError):
        return err.sqlite_errorcode == sqlite3.SQLITE_FULL
    if getattr(err, "errno", None) is not None:
        return isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT)
    # numpy: "4096 requested and 100 written"; safetensors: "I/O error: No space left on device (os error 28)".
    return "requested and" in str(err) or "No space left" in str(err)


@contextmanager
def folder_aside(parent: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside its final place, of this writer alone; removed when the block fails."""
    parent.mkdir(parents=True, exist_ok=True)
    aside = parent / name_aside(name)
    aside.mkdir()
    try:
        yield aside
    finally:
        if aside.exists():
            shutil.rmtree(aside)


def settle_folder(aside: Path, final: Path) -> None:
    """Flush every file of a temporary folder, then rename it into place, unless an equal one is there."""
    for file in aside.iterdir():
        fsync_path(file)
    fsync_path(aside)
    try:
        aside.rename(final)
    except OSError:
        if not final.is_dir():  # else another writer was faster; what has one name has one content
            raise
    fsync_path(final.parent)
