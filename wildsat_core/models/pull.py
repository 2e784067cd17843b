"""Fetches a published WildSAT checkpoint, converts it and keeps it, for users with a network."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wildsat_core.errors import MissingExtraError, ModelNotFoundError, SourceError
from wildsat_core.models.config import CONFIG_FILE
from wildsat_core.models.convert import convert_checkpoint
from wildsat_core.models.registry import MODELS, model_home

BASE_VARIABLE = "WILDSAT_CHECKPOINT_BASE"


def pull_model(name: str, base: str | None = None, *, again: bool = False) -> Path:
    """Fetch and convert the published checkpoint of a registry row.

    Args:
        name: of the row.
        base: an address under which files lie by their identifier, for mirrors; by default $WILDSAT_CHECKPOINT_BASE,
            and without that Google Drive.
        again: fetch it though it is there.

    Returns:
        The model's directory.

    Raises:
        ModelNotFoundError: no row of this name has a published checkpoint.
        SourceError: it can't be fetched.
        CheckpointError: what came is not the checkpoint; nothing in it was run and nothing is kept.
    """
    row = MODELS.get(name)
    if row is None or row.published_id is None:
        published = ", ".join(spec.name for spec in MODELS.values() if spec.published_id)
        raise ModelNotFoundError(f"no checkpoint of {name!r} is published; there are {published}")
    directory = model_home() / name
    if (directory / CONFIG_FILE).is_file() and not again:
        return directory
    model_home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model_home(), prefix=".pull-") as folder:
        file = Path(folder) / f"{name}.pth"
        base = base or os.environ.get(BASE_VARIABLE)
        if base:
            _fetch(f"{base.rstrip('/')}/{row.published_id}", file)
        else:
            _fetch_from_drive(row.published_id, file)
        convert_checkpoint(file, name, directory, row=name)
    return directory


def _fetch(address: str, file: Path) -> None:
    import httpx

    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=60) as answer, file.open("wb") as out:
            answer.raise_for_status()
            for part in answer.iter_bytes(1 << 20):
                out.write(part)
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        raise SourceError(f"can't fetch {address}: {err}") from err


def _fetch_from_drive(identifier: str, file: Path) -> None:
    try:
        import gdown
        from gdown.exceptions import DownloadError
    except ImportError as err:
        raise MissingExtraError("gdown", "download", "fetching a published checkpoint") from err
    try:
        gdown.download(id=identifier, output=str(file), quiet=True)
    except (DownloadError, OSError) as err:
        raise SourceError(f"can't fetch {identifier} from Google Drive: {err}") from err
    if not file.is_file():
        raise SourceError(f"Google Drive gave nothing for {identifier}; its daily limit may be reached, try later")
