"""Files of the page: the right type for modules, compressed on the way, and caching that never shows a stale script."""

from __future__ import annotations

import functools
import gzip
import os

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Python's own table depends on the system's; a module script of another type is refused by browsers.
SCRIPT_SUFFIXES = (".mjs", ".js")
TEXT_SUFFIXES = (*SCRIPT_SUFFIXES, ".css", ".json", ".svg")
KEPT_FILES = 64  # the page has about forty; all of them compressed take 1 MB


@functools.lru_cache(maxsize=KEPT_FILES)
def gzipped(path: str, etag: str) -> bytes:
    """A file compressed once: the map library takes 30 ms, too long for every first visit. The tag renews the entry."""
    with open(path, "rb") as file:  # noqa: PTH123 - the path is a plain string, the cache's key
        return gzip.compress(file.read(), 6, mtime=0)


class PageFiles(StaticFiles):
    """Static files with an ETag; ours are revalidated each time, pinned third-party ones are kept for a day."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, compressed where the client takes it and it is text."""
        response = await super().get_response(path, scope)
        whole = isinstance(response, FileResponse) and response.status_code == 200 and scope["method"] == "GET"
        if not whole or not path.endswith(TEXT_SUFFIXES):
            return response
        assert isinstance(response, FileResponse)
        response.headers.add_vary_header("Accept-Encoding")
        asked = Headers(scope=scope)
        if "gzip" not in asked.get("accept-encoding", "") or "range" in asked:
            return response
        tag = response.headers["etag"]
        body = await run_in_threadpool(gzipped, os.fspath(response.path), tag)
        dropped = ("content-length", "accept-ranges", "etag")
        headers = {name: value for name, value in response.headers.items() if name not in dropped}
        # Weak, because the bytes differ from the plain file's; If-None-Match compares weakly anyway (RFC 9110, 13.1.2).
        return Response(body, headers=headers | {"etag": f"W/{tag}", "content-encoding": "gzip"})

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
