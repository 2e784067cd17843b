"""A file server in a process of its own, by range requests: GDAL may hold the interpreter's lock while it asks.

It needs no more than the standard library, so that it starts at once. `GET /requests` tells what was asked for.
"""

import json
import re
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class Handler(BaseHTTPRequestHandler):
    """Gives files of a folder, whole or in parts."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    asked: ClassVar = []

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._give(is_head=True)

    def do_GET(self):
        if self.path == "/requests":
            return self._send(200, json.dumps(self.asked).encode())
        return self._give(is_head=False)

    def _give(self, *, is_head):
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        path = self.folder / self.path.lstrip("/").split("?")[0]
        data = path.read_bytes() if path.is_file() else None
        if data is None:
            return self._send(404, b"no such file", is_head=is_head)
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not part:
            return self._send(200, data, {"Accept-Ranges": "bytes"}, is_head=is_head)
        first, last = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"}, is_head=is_head)
        where = {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Accept-Ranges": "bytes"}
        return self._send(206, data[first : last + 1], where, is_head=is_head)

    def _send(self, status, body, headers=None, *, is_head=False):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if not is_head:
            self.wfile.write(body)


@contextmanager
def file_server(folder):
    """The address of a server of this folder's files, which runs meanwhile."""
    command = [sys.executable, "-I", __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{serving.server_address[1]}", flush=True)
    serving.serve_forever()
