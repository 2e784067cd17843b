"""The on-disk collection: immutable segments of tiles and vectors, and generations that name them.

    CURRENT                        one line: number and manifest hash of the live generation; replaced by rename
    generations/<n>.json           manifest of a generation
    segments/<id>/tiles.arrow      one row a tile, in curve order
                 /ids.npy, ids.rows.npy   hashes of the ids, sorted, and their rows
                 /<space>.npy      (N, D) float16: row i belongs to row i of tiles.arrow
                 /<space>.moments.npy   (1 + D, D) float64: sum of the vectors, then sum of their outer products
                 /thumbs.bin       WebP thumbnails by row
    deletions/<id>-<n>.npy         rows of a segment that generation n leaves out
    ann/<space>-<n>-<kind>.faiss   optional: an approximate index of a space
    imagery.mbtiles                optional: the collection's imagery as map tiles

docs/collection-format.md describes every file for readers in other programs.
"""

from wildsat_core.collection.manifest import Manifest, list_collections, read_current_manifest
from wildsat_core.collection.reader import Collection, open_collection
from wildsat_core.collection.writer import CollectionWriter

__all__ = [
    "Collection",
    "CollectionWriter",
    "Manifest",
    "list_collections",
    "open_collection",
    "read_current_manifest",
]
