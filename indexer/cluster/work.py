"""Doing units: the same function in a loop here, in the processes of a Kubernetes job, or in Ray's actors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from indexer.cluster.gathered import Gathered
from indexer.cluster.plan import JobPlan, as_planned, check_inputs, check_model, key_of, planned_units
from indexer.cluster.receipts import Receipt, note_failure, put_receipt, read_receipt, worker_name
from indexer.cluster.units import Unit
from indexer.pipeline.embedding import Embedded, embedded_batches
from indexer.pipeline.encoding import Encoder, check_bands
from indexer.pipeline.left_out import LeftOutCounter
from indexer.pipeline.listing import REASONS_BEFORE_READING, Chooser
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.reading import Readers
from indexer.pipeline.report import BuildReport
from indexer.pipeline.scale import ScaleGate
from indexer.sources.protocol import Candidate, LeftOut, Source, UnreachableError
from wildsat_core.collection.manifest import read_manifest
from wildsat_core.collection.mirror import mirror_of
from wildsat_core.collection.reader import live_rows
from wildsat_core.collection.segment import read_id_index
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.files import advice_when_full

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

logger = logging.getLogger(__name__)

KEPT: Final = "kept"  # folder of a job: what was embedded of units that were interrupted


@dataclass
class Worker:
    """Everything that a process needs for the units of one build, made once; `close` it.

    Attributes:
        taken: tiles of the units done so far.
    """

    root: Path
    plan: JobPlan
    source: Source
    model: WildSATModel
    options: BuildOptions
    encoder: Encoder
    readers: Readers
    units: tuple[Unit, ...]
    chooser: Chooser
    gate: ScaleGate
    taken: int = 0

    @classmethod
    def start(
        cls,
        root: Path,
        plan: JobPlan,
        source: Source,
        model: WildSATModel,
        options: BuildOptions,
        *,
        checked: bool = False,
    ) -> Worker:
        """Check that this process sees what the plan was made for.

        Args:
            root: folder of the collection.
            plan: of the job.
            source: of the tiles.
            model: embeds them.
            options: how to run.
            checked: whether the imagery was compared with the plan just now, which asks servers and catalogues.

        Raises:
            ModelMismatchError: its model is another one.
            SourceError: its imagery is.
            InvalidInputError: the source's bands don't suit the model.
        """
        check_model(plan, model.ref)
        if not checked:
            check_inputs(plan, source)
        check_bands(model, source)
        source = as_planned(plan, source)
        encoder = Encoder(model, batch_tiles=options.batch_tiles, compiled=options.compiled, threads=options.threads)
        read = replace(options.read, eight_bit=encoder.takes_eight_bit)
        return cls(
            root=root,
            plan=plan,
            source=source,
            model=model,
            options=options,
            encoder=encoder,
            readers=Readers(source, read, options.workers),
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

    def close(self) -> None:
        """End the processes that read."""
        self.readers.close()

    def run_unit(self, number: int, on_progress: Progress = lambda _: None) -> Receipt:
        """List, read, embed and write one unit; returns the receipt that lies there when it has one already.

        When it is interrupted, what was embedded is kept, and not embedded again.

        Args:
            number: of the unit.
            on_progress: called with the number of candidates dealt with since the last call.

        Raises:
            SourceError: the source is out of reach.
            InvalidInputError: all that this worker has seen is deeper than the model takes, or not of its scale.
            DiskFullError: its segment finds no room.
        """
        unit = self.units[number]
        if done := read_receipt(self.root, self.plan.job, unit.name):
            on_progress(done.listed)
            return done
        start = time.perf_counter()
        with advice_when_full(self.root):
            folder = self.root / key_of(self.plan.job, f"{KEPT}/{number}")
            gathered = Gathered(folder, self.model.spaces)
            report = BuildReport(self.root.name, self.model.config.name, adopted=len(gathered))
            counter = _Counter(gathered, report, on_progress)
            self._gather(unit, gathered, report, counter)
            began = time.perf_counter()
            segment = gathered.write(self.root, self.plan.generation + 1, self.plan.job)
            report.stage_s["write"] += time.perf_counter() - began
            receipt = put_receipt(
                self.root,
                self.plan.job,
                unit,
                Receipt(
                    unit=number,
                    key=unit.key,
                    segment=segment,
                    tiles=len(gathered),
                    listed=counter.dealt,
                    taken_over=report.adopted,
                    left_out=report.left_out.as_dict(),
                    names=report.left_out.names,
                    stage_s=report.stage_s,
                    elapsed_s=time.perf_counter() - start,
                    device=str(self.model.device),
                    worker=worker_name(),
                ),
            )
            gathered.drop()
        self.taken += receipt.tiles
        return receipt

    def _gather(self, unit: Unit, gathered: Gathered, report: BuildReport, counter: _Counter) -> None:
        """Read and embed what is not there yet."""
        listed = counter.new(unit.listed(self.source))
        chosen = self.gate.passed(self.chooser.among(listed, counter.passed_over))
        chunks = gathered.noted(self.readers.chunks(counter.taken(chosen)))
        batches = embedded_batches(chunks, self.encoder, self.options.batch_tiles, report, self.taken + len(gathered))
        try:
            for batch in batches:
                if len(gathered) - gathered.kept >= self.options.segment_tiles:
                    gathered.keep()
                new = self._unknown(batch, report)
                report.left_out["id given twice"] += gathered.add(new.tiles, new.vectors, new.thumbnails)
        except (KeyboardInterrupt, SourceError):
            gathered.keep()
            raise
        report.left_out.add(counter.passed_over)

    def _unknown(self, batch: Embedded, report: BuildReport) -> Embedded:
        """Without tiles that are known; which tile a candidate became may be known only when it was read."""
        known = self.chooser.known({tile.tile_id for tile in batch.tiles})
        report.left_out["id given twice"] += len(known)
        return batch.at([i for i, tile in enumerate(batch.tiles) if tile.tile_id not in known]) if known else batch


def run_units(
    worker: Worker,
    numbers: Iterable[int],
    on_progress: Progress = lambda _: None,
    on_done: Callable[[Receipt], None] = lambda _: None,
) -> dict[str, str]:
    """Do units one after another; those that can't be done are named under `failed/`, and the others done all the same.

    Args:
        worker: does them.
        numbers: of the units.
        on_progress: as of `Worker.run_unit`.
        on_done: called with each receipt.

    Returns:
        Why units failed, by name.

    Raises:
        SourceError: there is but one unit, or a server does not answer, which the others would need, too.
    """
    failed = {}
    for number in numbers:
        try:
            on_done(worker.run_unit(number, on_progress))
        except SourceError as err:
            name = worker.units[number].name
            note_failure(worker.root, worker.plan.job, name, str(err))
            if len(worker.units) == 1 or isinstance(err, UnreachableError):
                raise
            logger.error("unit %s: %s", name, err)
            failed[name] = str(err)
    return failed


class _Counter:
    """Counts each candidate of a unit once, whether it is read now, was read before or need not be read at all.

    Args:
        gathered: what an interrupted run read of the unit.
        report: is told of what need not be read again.
        on_progress: called with the number of candidates dealt with since the last call.

    Attributes:
        passed_over: what is left out before reading, by reason.
        dealt: candidates that progress was told of.
    """

    def __init__(self, gathered: Gathered, report: BuildReport, on_progress: Progress) -> None:
        """Begin at none."""
        self._gathered, self._report, self._on_progress = gathered, report, on_progress
        self.passed_over = LeftOutCounter()
        self.dealt = self._read_before = self._taken = 0

    def new(self, listed: Iterable[Candidate | LeftOut]) -> Iterator[Candidate | LeftOut]:
        """Those that were not read before, under the id of any tile that they may have become."""
        left, empty = set(self._gathered.taken_up), self._gathered.found_empty
        for one in listed:
            if isinstance(one, LeftOut):
                yield one
            elif not self._gathered.taken_up.isdisjoint(one.ids):
                self._read_before += 1
                self._report.left_out["id given twice"] += left.isdisjoint(one.ids)
                left.difference_update(one.ids)
            elif one.tile.tile_id in empty:
                self._read_before += 1
                self._report.left_out[empty[one.tile.tile_id]] += 1
            else:
                yield one

    def taken(self, candidates: Iterator[Candidate]) -> Iterator[Candidate]:
        """Pass candidates on to be read, telling how many were dealt with."""
        for candidate in candidates:
            yield candidate
            self._taken += 1
            self._advance()
        self._advance()

    def _advance(self) -> None:
        passed_over = sum(self.passed_over[reason] for reason in REASONS_BEFORE_READING)
        dealt = self._read_before + passed_over + self._taken
        self._on_progress(dealt - self.dealt)
        self.dealt = dealt


def share_of(units: int, share: str | None) -> list[int]:
    """Numbers of the units that fall to worker i of n, written `i/n`, i from 0; None for all of them.

    Raises:
        InvalidInputError: not of this form.
    """
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
