"""Joining a Ray cluster, or a refusal in a sentence, at once, where there is none."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any, Final

from wildsat_core.errors import MissingExtraError, UnreachableError

CONNECT_S: Final = 10.0

_MODE: Final = "RAY_AUTH_MODE"


def settle_environment() -> None:
    """What Ray reads when it is imported: nothing is told to its makers, and a token that is there is shown.

    A cluster asks for the token of whoever starts it, where there is one; who joins would otherwise show none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    late = _MODE in os.environ or "ray" in sys.modules
    if not late and (os.environ.get("RAY_AUTH_TOKEN") or kept.is_file()):
        os.environ[_MODE] = "token"


def join(address: str, purpose: str, **options: Any) -> bool:  # noqa: ANN401 - Ray's own
    """Join a cluster, unless this process has joined one; nothing is told to Ray's makers.

    Args:
        address: host:port of the head, "auto" for the cluster of this machine, "local" for a new one.
        purpose: what it is for, in words.
        options: of `ray.init`.

    Returns:
        Whether it was joined just now.

    Raises:
        MissingExtraError: Ray is not installed.
        UnreachableError: there is no such cluster.
    """
    settle_environment()
    try:
        import ray
    except ModuleNotFoundError as err:
        raise MissingExtraError("ray", "ray", purpose) from err
    if ray.is_initialized():
        return False
    try:
        _check_listens(address)
        ray.init(address, **options)
    except (OSError, ray.exceptions.RayError, ValueError, RuntimeError) as err:
        raise UnreachableError(
            f"no Ray cluster can be joined at {address!r}: {str(err).splitlines()[0]}; start one with "
            "`ray start --head`, or give its address with --address host:port; where it asks for a token, that must be "
            "in RAY_AUTH_TOKEN or ~/.ray/auth_token here, too"
        ) from err
    return True


def _check_listens(address: str) -> None:
    """Ray itself would try an address for ten minutes.

    Raises:
        OSError: nothing listens there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
