"""The training loop, top to bottom.

On a laptop:          wildsat train --config resnet50-random --set data.folder=birds --set losses.location=0
On one GPU:           the same; bf16 and the GPU are taken when they are there
On several GPUs:      torchrun --nproc-per-node 4 -m training --config resnet50-imagenet --set ...
On several machines:  torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
                          -m training --config ...       (the same on each of them)
"""

from __future__ import annotations

import logging
import math
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training.assembly import build_model
from training.card import write_card
from training.checkpoint import disk_faults, resume_command, save_checkpoint
from training.config import TrainConfig
from training.data.stream import Batch, DamageCount, PairDataset, batch_loader
from training.distributed import any_rank, barrier, choose_device, process_group, step_seed
from training.ema import WeightMean
from training.gather import gather_lists, mean_over_ranks, rank, world_size
from training.losses import Match
from training.objective import TrainingModule, make_views, match_losses, weighted_sum
from training.report import Reporter
from training.resume import alone_in, begin_or_resume
from training.schedule import rate_at
from training.setup import (
    batches_of,
    make_optimiser,
    open_training_data,
    pixel_reader,
    run_folder,
    use_bf16,
)
from training.tuning import apply_tuning, without_adapters
from training.validate import validate
from wildsat_core.errors import TrainingError, WildsatError
from wildsat_core.files import is_disk_full
from wildsat_core.models.precision import lay_out_channels_last

logger = logging.getLogger(__name__)

MODEL_FOLDER = "model"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: of the run.
        steps: done.
        finished: false when a signal stopped it before its last step.
        loss: of the last step, None if none was left to do.
        best: highest validation score, -1 without validation.
    """

    folder: Path
    steps: int
    finished: bool
    loss: float | None
    best: float


def train(config: TrainConfig, *, resume: bool = False) -> Outcome:
    """Train a model as a config says; torchrun's environment makes it one rank of several.

    Args:
        config: the run.
        resume: go on from the run's newest checkpoint.

    Raises:
        InvalidInputError: the config doesn't fit the data or this machine.
        TrainingError: the loss or its gradients are not finite, too many pictures are damaged, the disk is full, or
            a resumed run was begun otherwise; the last checkpoint is intact.
    """
    device = choose_device(config.run.device)
    with process_group(device), _stop_signals() as stop, _full_disk(run_folder(config)), ExitStack() as held:
        return _Run(config, device, resume, held).train(stop)


class _Run:
    """Everything a run holds; `train` is the loop."""

    def __init__(self, config: TrainConfig, device: torch.device, resume: bool, held: ExitStack) -> None:
        self.config, self.device = config, device
        self.folder = run_folder(config)
        self.data = open_training_data(config)
        model = build_model(config, self.data)
        apply_tuning(model, config.tuning)
        self.module = TrainingModule(model, config.losses, settle_frozen=config.tuning.settle_frozen).to(device)
        lay_out_channels_last(self.module)
        self.optimiser = make_optimiser(self.module, config.optimiser, device)
        self.mean = None if config.optimiser.ema is None else WeightMean(self.module, config.optimiser.ema)
        self.bf16 = use_bf16(config, device)
        reader = pixel_reader(config, self.data, model.config.preprocessing.bands)
        held.enter_context(alone_in(self.folder))
        self.progress = begin_or_resume(
            config, self.data, self.folder, self.module, self.optimiser, self.mean, resume=resume
        )
        seed, other_date = config.run.seed, config.losses.image > 0
        self.val_rows = self.data.pairs_of("val")
        self.pairs = PairDataset(self.data, self.data.pairs_of("train"), reader, seed, other_date=other_date)
        self.held_out = PairDataset(self.data, self.val_rows, reader, seed, other_date=False)
        self.batches = batches_of(config, self.data, self.progress.step)
        self.steps_per_epoch = max(1, self.batches.per_epoch // config.run.accumulate)
        self.steps = len(self.batches) // config.run.accumulate + self.progress.step
        batches = min(self.batches.per_epoch, self.steps * config.run.accumulate)
        self.damage = DamageCount(config.data.most_damaged, batches * config.run.batch * world_size())
        self.damage.messages, self.damage.reads = dict(self.progress.damaged), self.progress.reads
        held_out = min(len(self.val_rows), config.run.validation_pairs)
        self.held_out_damage = DamageCount(config.data.most_damaged, held_out)

    def train(self, stop: threading.Event) -> Outcome:
        """Step until the last step or a signal."""
        run, network = self.config.run, self._network()
        loss, stopped = None, False
        reporter = Reporter(
            self.folder,
            steps=self.steps,
            first=self.progress.step,
            pairs_per_step=run.batch * run.accumulate * world_size(),
            active=rank() == 0,
        )
        self.module.train()
        with reporter, closing(self._batches()) as stream:
            for departure in self.config.departures() if self.config.recipe == "reference" else []:
                reporter.say(f"recipe reference, but {departure}")
            while self.progress.step < self.steps and not stopped:
                numbers = self._step(network, stream, reporter)
                loss = numbers["loss"]
                self.progress.step += 1
                step = self.progress.step
                if step % run.log_every == 0 or step == self.steps:
                    reporter.step(step, numbers)
                if self._is_due(run.validate_every):
                    try:
                        self._validate(reporter)
                    except WildsatError:
                        self._save()  # the steps since the last checkpoint are good
                        raise
                stopped = any_rank(stop.is_set(), self.device)
                if stopped or self._is_due(run.checkpoint_every):
                    self._save()
            if stopped:
                reporter.say(
                    f"stopped by a signal after step {self.progress.step}; go on with {resume_command(self.folder)}"
                )
            elif self.damage.damaged:
                reporter.say(f"{self.damage.damaged} of {self.damage.reads} pictures could not be read")
        return Outcome(self.folder, self.progress.step, not stopped, loss, self.progress.best)

    def _step(self, network: nn.Module, stream: Iterator[Batch], reporter: Reporter) -> dict[str, float]:
        """One optimiser step over as many batches as are accumulated; its numbers, the mean of all ranks."""
        config, step = self.config, self.progress.step
        rate = rate_at(step, config.optimiser, steps=self.steps, steps_per_epoch=self.steps_per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        totals: dict[str, torch.Tensor] = {}
        damaged: list[str] = []
        for part in range(config.run.accumulate):
            batch = next(stream).to(self.device)
            damaged += batch.damaged
            last = part == config.run.accumulate - 1
            with _no_sync(network, wanted=not last):
                loss, matches = self._forward(network, batch, step * config.run.accumulate + part)
                (loss / config.run.accumulate).backward()  # type: ignore[no-untyped-call]
            for name, value in (_numbers(loss, matches) | _counts(batch, self.device)).items():
                totals[name] = totals.get(name, torch.zeros((), device=self.device)) + value / config.run.accumulate
        numbers = _read(totals)
        pictures = config.run.accumulate * world_size()  # the numbers are means over so many batches
        reads, failed = (round(numbers.pop(name) * pictures) for name in ("reads", "damaged"))
        self._count_damage(gather_lists(damaged) if failed else [], reads, reporter)
        numbers["gradient_norm"] = self._bounded_gradients()
        _refuse_not_finite(numbers, step + 1)
        self.optimiser.step()
        if self.mean is not None:
            self.mean.update(self.module, step)
        return numbers | {"learning_rate": rate}

    def _forward(self, network: nn.Module, batch: Batch, number: int) -> tuple[torch.Tensor, dict[str, Match]]:
        config = self.config
        seed = step_seed(config.run.seed, rank(), number)
        torch.manual_seed(seed)  # dropout and dropped paths; so a step's random numbers need no saved state
        views = make_views(batch, self.module.model, config.augment, config.losses, seed)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            vectors = network(views.anchor, views.positive, batch.text, batch.lon_lat)
        matches = match_losses(vectors, batch, config.losses)
        return weighted_sum(matches, config.losses), matches

    def _batches(self) -> Generator[Batch, None, None]:
        pin = self.device.type == "cuda"
        return batch_loader(self.pairs, self.batches, workers=self.config.data.workers, pin=pin)

    def _bounded_gradients(self) -> float:
        """The norm of all gradients together, which are then scaled down to the limit if there is one."""
        trained = [p for p in self.module.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if self.config.optimiser.clip is not None:
            nn.utils.clip_grads_with_norm_(trained, self.config.optimiser.clip, norm)
        return float(norm)

    def _count_damage(self, damaged: list[str], reads: int, reporter: Reporter) -> None:
        """Count what all ranks read; every rank counts the same, so that all stop when it is too much."""
        for message in self.damage.add(damaged, reads):
            reporter.say(f"damaged picture: {message}")
        self.progress.damaged, self.progress.reads = self.damage.messages, self.damage.reads

    def _is_due(self, every: int) -> bool:
        """Whether something is done after this step: every so many, or at the end of epochs, and always at the end."""
        step = self.progress.step
        return step == self.steps or step % (every or self.steps_per_epoch) == 0

    def _validate(self, reporter: Reporter) -> None:
        """Measure retrieval on held-out blocks and keep the best model; without such blocks the newest is kept."""
        run = self.config.run

        def note(batch: Batch) -> None:
            for message in self.held_out_damage.add(batch.damaged, batch.reads):
                reporter.say(f"damaged held-out picture: {message}")

        if rank() == 0:
            averaged = nullcontext() if self.mean is None else self.mean.in_place_of(self.module)
            with averaged:
                score, found = float(self.progress.step), dict[str, float]()
                if len(self.val_rows) and self.config.losses.text:
                    found = validate(
                        self.module, self.held_out, self.val_rows, most=run.validation_pairs, batch=run.batch,
                        device=self.device, bf16=self.bf16, note=note,
                    )  # fmt: skip
                    reporter.validation(self.progress.step, found)
                    score = found["score"]
                if score > self.progress.best:
                    self.progress.best, self.progress.best_step = score, self.progress.step
                    with disk_faults(self.folder, self.folder / MODEL_FOLDER / "model.safetensors.part"):
                        model = without_adapters(self.module.model)
                        model.save(self.folder / MODEL_FOLDER)
                        write_card(
                            self.folder / MODEL_FOLDER, self.config, model.config, self.data, self.progress.step, found
                        )
        barrier()

    def _save(self) -> None:
        if rank() == 0:
            save_checkpoint(self.folder, self.module, self.optimiser, self.mean, self.progress, self.config.run.keep)
        barrier()

    def _network(self) -> nn.Module:
        network: nn.Module = self.module
        if self.config.run.compile:
            network = torch.compile(network)  # type: ignore[assignment]
        if world_size() > 1:  # outermost, where _no_sync finds it
            network = nn.parallel.DistributedDataParallel(network)
        return network


def _refuse_not_finite(numbers: dict[str, float], step: int) -> None:
    """Stop before the weights are touched: Adam would carry one such gradient into all later steps."""
    for name, words in (("loss", "the loss"), ("gradient_norm", "the norm of the gradients")):
        if not math.isfinite(numbers[name]):
            raise TrainingError(
                f"{words} became {numbers[name]} at step {step} ({numbers}); nothing was changed by it and the last "
                "checkpoint is intact. Try a lower optimiser.lr, optimiser.clip=1, or run.precision=fp32"
            )


def _counts(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    counts = {"reads": batch.reads, "damaged": len(batch.damaged)}
    return {name: torch.tensor(float(count), device=device) for name, count in counts.items()}


def _numbers(loss: torch.Tensor, matches: dict[str, Match]) -> dict[str, torch.Tensor]:
    named = {"loss": loss.detach()}
    for term, match in matches.items():
        named[f"loss_{term}"], named[f"accuracy_{term}"] = match.loss.detach(), match.accuracy
    return named


def _read(totals: dict[str, torch.Tensor]) -> dict[str, float]:
    """Mean over ranks, in one exchange and one wait for the device."""
    values = mean_over_ranks(torch.stack(list(totals.values()))).tolist()
    return dict(zip(totals, values, strict=True))


def _no_sync(network: nn.Module, *, wanted: bool) -> AbstractContextManager[None]:
    """Keep gradients on this rank until the last accumulated batch."""
    if wanted and isinstance(network, nn.parallel.DistributedDataParallel):
        held: AbstractContextManager[None] = network.no_sync()
        return held
    return nullcontext()


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """One message for a disk that is too full for anything that a run writes beside its checkpoints."""
    try:
        yield
    except OSError as err:
        if not is_disk_full(err):
            raise
        raise TrainingError(
            f"the disk is full: {folder} can't be written to; the last good checkpoint is intact. Make room and go on "
            f"with {resume_command(folder)}"
        ) from err


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets; the loop then ends after the present step."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(s, lambda *_: stop.set()) for s in signals]
    try:
        yield stop
    finally:
        for s, handler in zip(signals, before, strict=True):
            signal.signal(s, handler)
