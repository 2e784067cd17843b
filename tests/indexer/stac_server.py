"""A small STAC API and file server on loopback: search with paging, and files by range requests."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import rasterio.shutil
from rasterio.warp import transform_bounds

from tests.indexer.conftest import write_raster
from wildsat_core.types import BBox

PAGE = 2
WEST, NORTH, SIDE = 592_000, 3_707_000, 1024  # UTM 14 N, 10 m: 10.24 km near 33.5 N, 98 W


class StacServer:
    """Serves `items` and the files of `folder`; keeps what was asked for.

    `failures` are statuses that the next requests of a kind ("GET", "POST") are answered with, once each, and
    `retry_after` goes with them. A catalogue that is `endless` has one more page after the last, which is the last.
    A server without `heads` answers HEAD with `refusal`, as stores do for addresses signed for GET; one without `parts`
    gives files whole. `told` are headers that all files have.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.items = []
        self.searches = []
        self.ranges = []
        self.full_reads = []
        self.failures = {"GET": [], "POST": []}
        self.endless = False
        self.retry_after, self.heads, self.parts = "0", True, True
        self.refusal, self.told = 403, {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                query = json.loads(self.rfile.read(length))
                if not server._fails(self):
                    server._search(self, query)

            def do_GET(self):
                if server._fails(self):
                    return None
                if self.path == "/":
                    return send_json(self, server._landing())
                return server._file(self, head=False)

            def do_HEAD(self):
                if not server.heads:
                    return send(self, server.refusal, b"", "text/plain")
                return server._file(self, head=True)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _fails(self, handler):
        if not self.failures[handler.command]:
            return False
        send(handler, self.failures[handler.command].pop(0), b"busy", "text/plain", {"Retry-After": self.retry_after})
        return True

    def _landing(self):
        core = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "loopback",
            "description": "a test's catalogue",
            "conformsTo": core,
            "links": [
                {"rel": "self", "href": self.url, "type": "application/json"},
                {"rel": "root", "href": self.url, "type": "application/json"},
                {"rel": "search", "href": f"{self.url}/search", "type": "application/geo+json", "method": "POST"},
            ],
        }

    def _search(self, handler, query):
        self.searches.append(query)
        start, end = query["datetime"].split("/")
        found = [
            item
            for item in self.items
            if item["collection"] in query["collections"]
            and start <= item["properties"]["datetime"] <= end
            and boxes_meet(item["bbox"], query["bbox"])
        ]
        first = query.get("token", 0)
        answer = {"type": "FeatureCollection", "features": found[first : first + PAGE], "links": []}
        if first + PAGE < len(found) or self.endless:
            link = {"rel": "next", "href": f"{self.url}/search", "method": "POST", "merge": True}
            following = first + PAGE if first + PAGE < len(found) else first
            answer["links"].append({**link, "body": {"token": following}})
        send_json(handler, answer)

    def _file(self, handler, head):
        path = self.folder / handler.path.lstrip("/").split("?")[0]
        if not path.is_file():
            return send(handler, 404, b"no such file", "text/plain")
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
        if not wanted or not self.parts:
            if not head:
                self.full_reads.append(handler.path)
            headers = {"Accept-Ranges": "bytes"} if self.parts else {}
            return send(handler, 200, data, "image/tiff", headers | self.told, head)
        first, last = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            return send(handler, 416, b"", "image/tiff", {"Content-Range": f"bytes */{len(data)}"}, head)
        self.ranges.append((handler.path, first, last))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Accept-Ranges": "bytes", **self.told}
        return send(handler, 206, data[first : last + 1], "image/tiff", headers, head)


def send_json(handler, value):
    send(handler, 200, json.dumps(value).encode(), "application/json")


def send(handler, status, body, kind, headers=None, head=False):
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if not head:
        handler.wfile.write(body)


def boxes_meet(a, b):
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def scene(server, name, date, cloud, value, *, baseline=None, applied=None, columns=SIDE, cog=False):
    """Write a scene's files and put its item into the catalogue. Its reflectance is `value` plus a little noise."""
    noise = np.random.default_rng(len(name)).integers(0, 20, (SIDE, columns))
    bounds = transform_bounds("EPSG:32614", "EPSG:4326", WEST, NORTH - SIDE * 10, WEST + columns * 10, NORTH)
    assets = {}
    for key, add in (("red", 0), ("green", 100), ("blue", 200)):
        data = (value + add + noise).astype(np.uint16)[None]
        write_raster(server.folder / f"{name}-{key}.tif", data, "EPSG:32614", WEST, NORTH, 10, nodata=0, tiled=True)
        assets[key] = {"href": f"{server.url}/{name}-{key}.tif", "roles": ["data"]}
    visual = np.clip((np.stack([noise, noise + 1, noise + 2]) + value / 20), 1, 255).astype(np.uint8)
    path = server.folder / f"{name}-visual.tif"
    write_raster(path, visual, "EPSG:32614", WEST, NORTH, 10, nodata=0, tiled=True)
    if cog:
        rasterio.shutil.copy(path, path.with_suffix(".cog"), driver="COG", blocksize=256, compress="deflate")
        path.with_suffix(".cog").replace(path)
    assets["visual"] = {"href": f"{server.url}/{name}-visual.tif"}
    west, south, east, north = bounds
    properties = {"datetime": f"{date}T10:00:00Z", "eo:cloud_cover": cloud}
    properties |= {"s2:processing_baseline": baseline} if baseline else {}
    properties |= {"earthsearch:boa_offset_applied": applied} if applied is not None else {}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    server.items.append(
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "sentinel-2-l2a",
            "bbox": list(bounds),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
            "assets": assets,
            "links": [],
        }
    )
    return BBox(*bounds)
