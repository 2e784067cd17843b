"""`python -m benchmarks.tile_table`: bytes of a tile in memory and on disk, and the time to find one by its id.

Writes segments of made-up tiles, without an encoder, opens them as a reader does and asks for single tiles.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from benchmarks.random_collection import REF
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.manifest import read_current_manifest
from wildsat_core.collection.publish import publish_manifest
from wildsat_core.collection.segment import settle_segment, write_table
from wildsat_core.collection.thumbnails import THUMBNAILS_FILE, write_thumbnails
from wildsat_core.collection.tile_files import schema
from wildsat_core.files import folder_aside
from wildsat_core.types import SpaceSpec

SEGMENT = 65_536
SPACES = {"text": SpaceSpec(2, "cosine")}
PICTURE = b"RIFF" + bytes(2996)
ASKED = 300


def main() -> None:
    """Write, open, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keep the collection there, or use the one that is there")
    parser.add_argument("--version", type=int, choices=(1, 2), default=2, help="of the tables that are written")
    args = parser.parse_args()
    root = (args.folder or Path(tempfile.mkdtemp())) / f"table-{args.rows}-{args.version}"
    if not (root / "CURRENT").exists():
        write(root, args.rows, args.version)
    before, start = anonymous_bytes(), time.process_time()
    collection = open_collection(root)
    opened_s = time.process_time() - start
    start = time.process_time()
    found = collection.row_of("sentinel2-S2B_33UVR_20230601-0")
    index_s = time.process_time() - start
    memory = anonymous_bytes() - before
    on_disk = sum(f.bytes for s in collection.manifest.segments for n, f in s.files.items() if is_of_table(n))
    print(f"{args.rows:,} tiles, {len(collection.manifest.segments)} segments, version {args.version}")
    print(f"opened in {opened_s:.2f} s, first tile by id (row {found}) in {index_s:.2f} s of processor time")
    print(f"memory {memory / args.rows:.1f} bytes a tile, on disk {on_disk / args.rows:.1f} (without pictures)")
    ids = [f"sentinel2-S2B_33UVR_20230601-{i}" for i in np.random.default_rng(1).integers(0, args.rows, ASKED)]
    report("row by id", [timed(lambda one=one: collection.row_of(one)) for one in ids])
    report("tile by id", [timed(lambda one=one: collection.tile(collection.row_of(one))) for one in ids])
    report("picture by id", [timed(lambda one=one: collection.thumbnail(collection.row_of(one))) for one in ids])
    with CollectionWriter(root, root.name, REF, SPACES) as out:
        asked = [[f"{i}-{j}" for j in range(2048)] for i in range(20)]
        report("2,048 new ids known?", [timed(lambda some=some: out.known(some)) for some in asked])


def is_of_table(name: str) -> bool:
    return name.startswith(("tiles.", "ids."))


def write(root: Path, rows: int, version: int) -> None:
    """Publish so many tiles of 5 km, with a picture of 3 kB for one segment."""
    with CollectionWriter(root, root.name, REF, SPACES) as out:
        out.publish()
    segments = []
    for first in range(0, rows, SEGMENT):
        count = min(SEGMENT, rows - first)
        with folder_aside(root / "segments", "table") as aside:
            table = made_up(first, count)
            if version == 1:
                pq.write_table(table, aside / "tiles.parquet", row_group_size=4096, compression="zstd")
            else:
                write_table(aside, table)
            write_thumbnails(aside / THUMBNAILS_FILE, [PICTURE if first == 0 else None] * count)
            np.save(aside / "text.npy", np.ones((count, 2), np.float16))
            np.save(aside / "text.moments.npy", np.ones((3, 2)))
            segments.append(settle_segment(root, aside, rows=count, generation=2, job=""))
    manifest = read_current_manifest(root)
    publish_manifest(root, manifest.model_copy(update={"generation": 2, "segments": tuple(segments)}))


def made_up(first: int, count: int) -> pa.Table:
    """Rows as the table of a segment of Sentinel-2 tiles has them."""
    rng = np.random.default_rng(first)
    west, south = rng.uniform(-179, 179, count), rng.uniform(-80, 80, count)
    box = [west, south, west + 0.05, south + 0.05]
    names = pa.array(np.zeros(count, np.int32))
    columns = {
        "tile_id": [f"sentinel2-S2B_33UVR_20230601-{i}" for i in range(first, first + count)],
        "geometry": shapely.to_wkb(shapely.box(*box)),
        "bbox": pa.StructArray.from_arrays([pa.array(side) for side in box], ["xmin", "ymin", "xmax", "ymax"]),
        "is_box": np.ones(count, bool),
        "captured_on": pa.array(np.full(count, 19_509, np.int32)).cast(pa.date32()),
        "cloud_cover": rng.uniform(0, 1, count).astype(np.float32),
        "gsd_m": np.full(count, 10, np.float32),
        "source": pa.DictionaryArray.from_arrays(names, ["sentinel2"]),
        "country": pa.DictionaryArray.from_arrays(names, ["AUT"]),
        "href": ["S2B_MSIL2A_20230601T100559_N0509_R022_T33UVR.SAFE"] * count,
    }
    return pa.Table.from_pydict(columns, schema=schema())


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def report(what: str, seconds: list[float]) -> None:
    print(
        f"{what}: median {np.median(seconds) * 1e3:.3f} ms, 99th percentile {np.quantile(seconds, 0.99) * 1e3:.3f} ms"
    )


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
