"""Starts a container: secrets from files, the demo collection onto the volume, then the command `wildsat`.

It uses the standard library alone, so that it costs a start next to nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path

DEMO = Path("/opt/wildsat/demo")
PREFIX, SUFFIX = "WILDSAT_", "_FILE"

log = logging.getLogger("entrypoint")


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Values of the settings that are given as files: WILDSAT_API_KEYS_FILE=/run/secrets/keys sets WILDSAT_API_KEYS.

    Lines become a comma-separated list; an empty file sets nothing.

    Raises:
        SystemExit: a setting is given twice, or its file can't be read; the message names it.
    """
    values: dict[str, str] = {}
    for name, path in environment.items():
        if not (name.startswith(PREFIX) and name.endswith(SUFFIX) and path):
            continue
        setting = name.removesuffix(SUFFIX)
        try:
            lines = Path(path).read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as err:
            raise SystemExit(f"error: {name} names {path}, which can't be read: {err}") from err
        value = ",".join(line.strip() for line in lines if line.strip())
        if value and environment.get(setting):
            raise SystemExit(f"error: both {setting} and {name} are set; keep one of them")
        if value:
            values[setting] = value
    return values


def model_of(collection: Path) -> dict[str, object] | None:
    """The model that a collection's live generation names, None when there is no whole collection."""
    try:
        generation = int((collection / "CURRENT").read_text("ascii").partition(" ")[0])
        manifest = json.loads((collection / "generations" / f"{generation}.json").read_text("utf-8"))
        model: dict[str, object] = manifest["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return model


def set_aside(collection: Path) -> None:
    """Move a collection into `.replaced`, under a name that nothing has there, while nobody writes to it.

    Raises:
        BlockingIOError: somebody does.
    """
    shelf = collection.parent / ".replaced"
    shelf.mkdir(exist_ok=True)
    names = (collection.name if number == 1 else f"{collection.name}-{number}" for number in count(1))
    aside = next(shelf / name for name in names if not (shelf / name).exists())
    with (collection / "LOCK").open("a") as lock:  # as wildsat_core.collection.lock does, and until the rename is done
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        collection.rename(aside)
    log.warning("the collection in %s is not this image's demo; it now lies in %s, whole", collection, aside)


def seed_demo(source: Path, collections: Path) -> bool:
    """Put the image's demo collection on the volume, unless there is one that this image can serve.

    One that was made by another model (of another release) can't be served; it is set aside in `.replaced/`, not
    deleted, and the image's takes its place. Copies are whole before they get their name.

    Returns:
        Whether it was put there.
    """
    target = collections / "demo"
    wanted = model_of(source)
    if wanted is None or (target.exists() and model_of(target) == wanted):
        return False
    incoming = collections / ".incoming" / socket.gethostname()
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.copytree(source, incoming)
    if target.exists():
        set_aside(target)
    try:
        incoming.rename(target)
    except OSError:
        if model_of(target) != wanted:
            raise
        shutil.rmtree(incoming)  # another container was first
        return False
    return True


def main(arguments: list[str]) -> None:
    """Prepare, then become `wildsat` with the same arguments."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    os.environ.update(read_secrets(os.environ))
    collections = Path(os.environ.get("WILDSAT_COLLECTIONS", "/data/collections"))
    if arguments[:1] == ["serve"] and os.environ.get("WILDSAT_DEMO", "true").lower() in ("1", "true", "yes"):
        try:
            if seed_demo(DEMO, collections):
                log.info("the demo collection was copied to %s", collections)
        except OSError as err:
            # A volume that can only be read holds what its owner wants served.
            log.warning("the demo collection could not be copied to %s: %s", collections, err)
    os.execvp("wildsat", ["wildsat", *arguments])  # noqa: S606, S607 - the image's own command


if __name__ == "__main__":
    main(sys.argv[1:])
