"""What a build did, for people and programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indexer.pipeline.left_out import LeftOutCounter, check_faults
from wildsat_core.errors import SourceError
from wildsat_core.files import write_text_atomically
from wildsat_core.machine import peak_memory_mib

REPORT_FILE = "build-report.json"
NAMED = 5  # units on the terminal; the file names all


@dataclass
class BuildReport:
    """Counts and times of one run of a build.

    Attributes:
        added: tiles embedded and written in this run.
        adopted: tiles taken over from an interrupted run.
        left_out: candidates not indexed, by reason, and the first few of each by name.
        units, workers: how many units of a build were done in this run, and by how many processes.
        missing_units: names of those that the generation lacks.
        stage_s: seconds by stage: "read" is the workers' own time, "waiting" is what the encoder waited for them.
    """

    collection: str
    model: str
    added: int = 0
    adopted: int = 0
    generation: int = 0
    elapsed_s: float = 0.0
    left_out: LeftOutCounter = field(default_factory=LeftOutCounter)
    units: int = 0
    workers: int = 0
    missing_units: list[str] = field(default_factory=list)
    stage_s: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "waiting", "compile", "encode", "write"), 0.0)
    )

    @property
    def tiles_per_s(self) -> float:
        """Tiles embedded and written per second of the whole run."""
        return self.added / self.elapsed_s if self.elapsed_s else 0.0

    def check_not_empty(self) -> None:
        """Refuse a build that gave nothing and had nothing already.

        Raises:
            SourceError: with the reasons.
        """
        if self.added or self.adopted or self.left_out["already indexed"]:
            return
        if not any(self.left_out.values()):
            raise SourceError("the source has no tile there")
        raise SourceError(f"no tile was indexed; left out: {self.left_out.text()}")

    def check_faults(self, max_bad: float | None) -> None:
        """Refuse a build of which too much is bad.

        Raises:
            SourceError: naming some.
        """
        check_faults(self.left_out, self.added, max_bad)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "collection": self.collection,
            "model": self.model,
            "generation": self.generation,
            "tiles_added": self.added,
            "tiles_taken_over": self.adopted,
            "left_out": self.left_out.as_dict(),
            "left_out_names": self.left_out.names,
            "units": self.units,
            "workers": self.workers,
            "missing_units": self.missing_units,
            "elapsed_s": round(self.elapsed_s, 2),
            "tiles_per_s": round(self.tiles_per_s, 1),
            "stage_s": {stage: round(s, 2) for stage, s in self.stage_s.items()},
            **({} if (memory := peak_memory_mib()) is None else {"peak_memory_mib": round(memory)}),
        }

    def text(self) -> str:
        """A few lines for the terminal."""
        facts = self.as_dict()
        stages = ", ".join(f"{stage} {s:.1f} s" for stage, s in facts["stage_s"].items() if s)
        shared = f", {self.units:,} units by {self.workers:,} workers" if self.workers > 1 else ""
        some = ", ".join(self.missing_units[:NAMED]) + (", …" if len(self.missing_units) > NAMED else "")
        missing = f"\n{len(self.missing_units):,} units are missing: {some}" if self.missing_units else ""
        taken_over = f", {self.adopted:,} taken over from an interrupted build" if self.adopted else ""
        return (
            f"{self.collection}: {self.added:,} tiles added{taken_over}, generation {self.generation}, "
            f"model {self.model}\n"
            f"left out: {self.left_out.text()}\n"
            f"{self.elapsed_s:.1f} s, {self.tiles_per_s:,.0f} tiles/s ({stages}){shared}"
            + (f", peak memory {facts['peak_memory_mib']:,} MiB" if "peak_memory_mib" in facts else "")
            + missing
        )

    def save(self, root: Path) -> Path:
        """Write it into the collection's folder, where the last build's report is kept."""
        path = root / REPORT_FILE
        write_text_atomically(path, json.dumps(self.as_dict(), indent=1) + "\n")
        return path
