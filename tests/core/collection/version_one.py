"""Collections as version 1 of the format had them, written from its description and not by the program."""

import hashlib
import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq

from wildsat_core.collection.thumbnails import open_thumbnails


def make_version_one(root):
    """Turn a collection, of one generation or more, into what version 1 would have written."""
    for folder in sorted((root / "segments").iterdir()):
        _downgrade(folder)
    for path in (root / "generations").glob("[0-9]*.json"):
        told = json.loads(path.read_text()) | {"format_version": 1}
        infos = (root / "segments" / segment["id"] / "segment.json" for segment in told["segments"])
        told["segments"] = [json.loads(info.read_text()) for info in infos]
        path.write_text(json.dumps(told))
    current = root / "CURRENT"
    number = current.read_text().split()[0]
    sha256 = hashlib.sha256((root / "generations" / f"{number}.json").read_bytes()).hexdigest()
    current.write_text(f"{number} {sha256}\n")


def _downgrade(folder):
    with pa.memory_map(str(folder / "tiles.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
        pq.write_table(table, folder / "tiles.parquet", row_group_size=4096, compression="zstd")
    pictures = open_thumbnails(folder)
    connection = sqlite3.connect(folder / "thumbs.sqlite")
    connection.execute("CREATE TABLE thumbs (row INTEGER PRIMARY KEY, webp BLOB NOT NULL)")
    rows = ((row, pictures.get(row)) for row in range(len(table)))
    connection.executemany("INSERT INTO thumbs VALUES (?, ?)", (pair for pair in rows if pair[1]))
    connection.commit()
    connection.close()
    for name in ("tiles.arrow", "thumbs.bin", "ids.npy", "ids.rows.npy"):
        (folder / name).unlink()
    info = json.loads((folder / "segment.json").read_text())
    info["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.name != "segment.json"
    }
    (folder / "segment.json").write_text(json.dumps(info))
