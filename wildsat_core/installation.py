"""How this project was installed, so that a message can give the very command that adds what is missing."""

from __future__ import annotations

import json
import sys
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit

CLONE = Path(__file__).resolve().parents[1]


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation, be it of a clone, a wheel or a package index."""
    try:
        installed = distribution("wildsat")
    except PackageNotFoundError:  # a clone that is only on the path
        installed = None
    return f"{_installer(installed)} {_requirement(installed, extra)}"


def _installer(installed: Distribution | None) -> str:
    """The installer of this very Python: pip, or uv where it has made an environment without pip."""
    python = _quoted(sys.executable)
    by_uv = installed is not None and (installed.read_text("INSTALLER") or "").strip() == "uv"
    # Not importlib.util.find_spec: setuptools' finder takes that for pip at work, and breaks torch.compile after it.
    if by_uv and PathFinder.find_spec("pip") is None:
        return f"uv pip install --python {python}"
    return f"{python} -m pip install"


def _requirement(installed: Distribution | None, extra: str) -> str:
    """What to install again with the extra, from where it came (PEP 610 tells)."""
    from urllib.request import url2pathname  # costs more than all else here, and only a message needs it

    if installed is None:
        return f"-e {_quoted(f'{CLONE}[{extra}]')}" if (CLONE / "pyproject.toml").is_file() else _named(extra)
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if "dir_info" in origin:
        folder = url2pathname(urlsplit(origin["url"]).path)
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"{editable}{_quoted(f'{folder}[{extra}]')}"
    return _quoted(f"wildsat[{extra}] @ {origin['url']}") if "url" in origin else _named(extra)


def _named(extra: str) -> str:
    return _quoted(f"wildsat[{extra}]")


def _quoted(word: str) -> str:
    """For sh, PowerShell and cmd alike: all three take double quotes, and some shells expand brackets without them."""
    return f'"{word}"' if any(sign in word for sign in " []@") else word
