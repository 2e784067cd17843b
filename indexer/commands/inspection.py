"""What a collection holds, in facts for programs and lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wildsat_core.collection.manifest import IMAGERY_FILE, read_current_manifest


def describe(root: Path) -> dict[str, Any]:
    """Facts from the manifest alone, JSON values.

    Raises:
        CollectionFormatError: the manifest is damaged.
    """
    manifest = read_current_manifest(root)
    return {
        "name": manifest.name,
        "path": str(root),
        "title": manifest.provenance.get("title", ""),
        "generation": manifest.generation,
        "created_at": manifest.created_at.isoformat(),
        "format_version": manifest.format_version,
        "model": {
            "name": manifest.model.name,
            "weights_sha256": manifest.model.weights_sha256,
            "text_encoder": manifest.model.text_encoder,
            "preprocessing": manifest.model.preprocessing,
        },
        "spaces": {
            space: {"dim": spec.dim, "metric": spec.metric, "dtype": spec.dtype}
            for space, spec in manifest.spaces.items()
        },
        "tiles": manifest.tiles,
        "rows": manifest.rows,
        "deleted": manifest.rows - manifest.tiles,
        "segments": [
            {"id": s.id, "rows": s.rows, "bytes": sum(f.bytes for f in s.files.values())} for s in manifest.segments
        ],
        "bytes": sum(f.bytes for s in manifest.segments for f in s.files.values()),
        "ann": {
            space: {
                "kind": ann.kind,
                "bytes": ann.info.bytes,
                "search": ann.search,
                "recall_at_10": ann.recall_at_10,
                "recall_at_20": ann.recall_at_20,
            }
            for space, ann in manifest.ann.items()
        },
        "imagery": (root / IMAGERY_FILE).is_file(),
        "provenance": manifest.provenance,
    }


def describe_text(facts: dict[str, Any]) -> str:
    """The same in lines."""
    spaces = ", ".join(f"{name} ({s['dim']} {s['dtype']}, {s['metric']})" for name, s in facts["spaces"].items())
    model = facts["model"]
    lines = {
        "collection": f"{facts['name']}  {facts['title']}",
        "path": facts["path"],
        "generation": f"{facts['generation']}, {facts['created_at'][:19]} UTC",
        "model": f"{model['name']} ({model['weights_sha256'][:12]}), text encoder {model['text_encoder']}",
        "spaces": spaces,
        "tiles": f"{facts['tiles']:,} in {len(facts['segments'])} segments, {facts['deleted']:,} deleted rows",
        "size": f"{facts['bytes'] / 2**20:,.1f} MiB",
    }
    if indexes := facts["ann"]:
        lines["indexes"] = "; ".join(
            f"{space} {ann['kind']}, {ann['bytes'] / 2**20:,.1f} MiB, recall@10 {ann['recall_at_10']:.3f}"
            for space, ann in indexes.items()
        )
    lines |= {word: told for word in ("attribution", "notice") if (told := facts["provenance"].get(word))}
    width = max(len(key) for key in lines)
    return "\n".join(f"{key.ljust(width)}  {value}" for key, value in lines.items())
