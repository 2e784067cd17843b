"""Doing units: the same function in a loop here, in the processes of a Kubernetes job, or in Ray's actors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexer.cluster.plan import JobPlan, as_planned, check_inputs, check_model, planned_units
from indexer.cluster.receipts import Receipt, put_receipt, read_receipt, worker_name
from indexer.cluster.units import Unit
from indexer.pipeline.build import embedded_batches
from indexer.pipeline.encoding import Encoder
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.report import BuildReport
from indexer.pipeline.scale import ScaleGate
from indexer.sources.protocol import Source
from wildsat_core.collection.manifest import SegmentInfo, read_manifest
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.reader import live_rows
from wildsat_core.collection.segment import read_id_index, write_segment
from wildsat_core.files import advice_when_full
from wildsat_core.types import Space, Tile

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel


@dataclass(frozen=True)
class Worker:
    """Everything that a process needs for the units of one build, made once."""

    root: Path
    plan: JobPlan
    source: Source
    model: WildSATModel
    options: BuildOptions
    encoder: Encoder
    units: tuple[Unit, ...]
    chooser: Chooser
    gate: ScaleGate

    @classmethod
    def start(cls, root: Path, plan: JobPlan, source: Source, model: WildSATModel, options: BuildOptions) -> Worker:
        """Check that this process sees what the plan was made for.

        Raises:
            ModelMismatchError: its model is another one.
            SourceError: its imagery is.
            InvalidInputError: the source's bands don't suit the model.
        """
        check_model(plan, model.ref)
        check_inputs(plan, source)
        source = as_planned(plan, source)
        encoder = Encoder(model, batch_tiles=options.batch_tiles, compiled=options.compiled, threads=options.threads)
        encoder.check(source)
        return cls(
            root=root,
            plan=plan,
            source=source,
            model=model,
            options=replace(options, read=replace(options.read, eight_bit=encoder.takes_eight_bit)),
            encoder=encoder,
            units=tuple(planned_units(plan, source)),
            chooser=Chooser(
                _known_to(root, plan, options),
                options.land,
                options.min_land,
                options.countries,
                options.area,
                options.centres_in,
            ),
            gate=ScaleGate(model.config, options.any_scale),
        )

    def run_unit(self, number: int) -> Receipt:
        """List, read, embed and write one unit; returns the receipt that lies there when it has one already.

        Raises:
            SourceError: the source is out of reach, or all of the unit is deeper than the model takes.
            DiskFullError: its segment finds no room.
        """
        unit = self.units[number]
        if done := read_receipt(self.root, self.plan.job, unit.name):
            return done
        start = time.perf_counter()
        report = BuildReport(self.root.name, self.model.config.name)
        candidates = self.gate.passed(self.chooser.among(unit.listed(self.source), report.left_out))
        with advice_when_full(self.root):
            segment = self._written(candidates, report)
            return put_receipt(
                self.root,
                self.plan.job,
                unit,
                Receipt(
                    unit=number,
                    key=unit.key,
                    segment=segment,
                    tiles=segment.rows if segment else 0,
                    left_out=report.left_out.as_dict(),
                    names=report.left_out.names,
                    stage_s=report.stage_s,
                    elapsed_s=time.perf_counter() - start,
                    device=str(self.model.device),
                    worker=worker_name(),
                ),
            )

    def _written(self, candidates: Iterable, report: BuildReport) -> SegmentInfo | None:  # type: ignore[type-arg]
        """Gather what the unit gives, each id once, and write it."""
        tiles: list[Tile] = []
        pictures: list[bytes | None] = []
        vectors: dict[Space, list[np.ndarray]] = {space: [] for space in self.model.spaces}
        seen: set[str] = set()
        for batch in embedded_batches(self.source, iter(candidates), self.encoder, self.options, report):
            kept = []
            for i, tile in enumerate(batch.tiles):
                if tile.tile_id not in seen:
                    seen.add(tile.tile_id)
                    kept.append(i)
            report.left_out["id given twice"] += len(batch.tiles) - len(kept)
            tiles += [batch.tiles[i] for i in kept]
            pictures += [batch.thumbnails[i] for i in kept]
            for space, array in batch.vectors.items():
                vectors[space].append(array[kept])
        if not tiles:
            return None
        start = time.perf_counter()
        joined = {space: np.concatenate(parts) for space, parts in vectors.items()}
        segment = write_segment(
            self.root,
            tiles,
            joined,
            pictures,
            self.model.spaces,
            generation=self.plan.generation + 1,
            job=self.plan.job,
        )
        report.stage_s["write"] += time.perf_counter() - start
        return segment


def share_of(units: int, share: str | None) -> list[int]:
    """Numbers of the units that fall to worker i of n, written `i/n`, i from 0; None for all of them.

    Raises:
        InvalidInputError: not of this form.
    """
    from wildsat_core.errors import InvalidInputError

    if share is None:
        return list(range(units))
    i, slash, n = share.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise InvalidInputError(f"--units must be i/n with i from 0 to n - 1, like 3/64, got {share!r}", "units")
    return list(range(int(i), units, int(n)))


def _known_to(root: Path, plan: JobPlan, options: BuildOptions) -> Callable[[set[str]], set[str]]:
    """Tells which ids the generation holds that the build was planned on; units know nothing of one another."""
    if options.on_known == "replace" or not plan.generation:
        return lambda _: set()
    if mirror := mirror_of(root):
        mirror.pull(plan.generation)
    manifest = read_manifest(root, plan.generation)
    index, live = read_id_index(root, manifest), live_rows(root, manifest)
    return lambda ids: {tile_id for row, tile_id in index.found(ids) if live[row]}
