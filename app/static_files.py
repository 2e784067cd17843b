"""Files of the page: the right type for modules, and caching that never shows a stale script."""

from __future__ import annotations

import os

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Python's own table depends on the system's; a module script of another type is refused by browsers.
SCRIPT_SUFFIXES = (".mjs", ".js")


class PageFiles(StaticFiles):
    """Static files with an ETag; ours are revalidated each time, pinned third-party ones are kept for a day."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Answer with a file, or 304 when the client has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        path = os.fspath(full_path)
        if path.endswith(SCRIPT_SUFFIXES) and "content-type" in response.headers:
            response.headers["content-type"] = "text/javascript; charset=utf-8"
        vendored = f"{os.sep}vendor{os.sep}" in path
        response.headers["cache-control"] = "public, max-age=86400" if vendored else "no-cache"
        return response
