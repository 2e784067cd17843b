"""What a run says of itself while it runs: a line or a bar, metrics.jsonl, TensorBoard, and a picture of the loss."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from wildsat_core.files import write_text_atomically
from wildsat_core.machine import peak_memory_mib

METRICS, CURVE, BOARD = "metrics.jsonl", "loss.png", "tensorboard"
_CUT_SHORT = 1 << 62  # the step of a line that a crash left unfinished


class _Bar(Progress):
    """A bar with the loss in a line of its own below it, so that neither is cut off in a narrow terminal."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the line."""
        yield from super().get_renderables()
        yield Text(self.below)


class Reporter:
    """Writes and shows the numbers of one run; on other ranks than 0 it does nothing."""

    def __init__(self, run: Path, *, steps: int, first: int, pairs_per_step: int, active: bool) -> None:
        """Prepare.

        Args:
            run: folder of the run.
            steps: of the whole run.
            first: steps done before.
            pairs_per_step: over all ranks and accumulated batches.
            active: whether this rank reports.
        """
        self._run, self._active, self._pairs = run, active, pairs_per_step
        self._console = Console(stderr=True)
        self._bar: _Bar | None = None
        self._steps, self._first = steps, first
        self._since, self._since_step = time.perf_counter(), first

    def __enter__(self) -> Self:
        """Open the files and the bar."""
        if not self._active:
            return self
        cut_metrics(self._run / METRICS, self._first)
        with ExitStack() as opened:
            self._board = _tensorboard(self._run / BOARD, self._first)
            if self._board is not None:
                opened.callback(self._board.close)
            self._file = opened.enter_context((self._run / METRICS).open("a", encoding="utf-8"))
            self._opened = opened.pop_all()  # only now: a fault above closes what was opened before it
        if self._console.is_terminal:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TextColumn("[dim]left"),
                TimeRemainingColumn(),
            )
            self._bar = _Bar(*columns, console=self._console)
            self._task = self._bar.add_task("", total=self._steps, completed=self._first)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them, and draw the curve."""
        if not self._active:
            return
        if self._bar is not None:
            self._bar.stop()
        self._opened.close()
        draw_losses(self._run / METRICS, self._run / CURVE)

    def step(self, step: int, numbers: dict[str, float]) -> None:
        """Report training numbers, "loss" among them, after this many steps."""
        if not self._active:
            return
        now = time.perf_counter()
        rate = (step - self._since_step) / max(now - self._since, 1e-9)
        self._since, self._since_step = now, step
        numbers = numbers | {"steps_per_s": rate, "pairs_per_s": rate * self._pairs}
        if (memory := memory_mb()) is not None:
            numbers["memory_mb"] = memory
        self._write({"step": step, **numbers}, "train")
        parts = describe_losses(numbers)
        speed = f"{rate:.3g} steps/s, {rate * self._pairs:.3g} pairs/s"
        if memory is not None:
            speed += f", {memory:,.0f} MB"
        if self._bar is not None:
            self._bar.below = parts
            self._bar.update(self._task, completed=step, description=speed)
        else:
            left = (self._steps - step) / max(rate, 1e-9)
            print(f"step {step}/{self._steps} {parts}; {speed}, {left:.0f} s left", file=sys.stderr, flush=True)

    def validation(self, step: int, numbers: dict[str, float]) -> None:
        """Report validation numbers."""
        if not self._active:
            return
        self._write({"step": step, **{f"val_{k}": v for k, v in numbers.items()}}, "")
        self.say(f"step {step}: {describe_retrieval(numbers)}")

    def say(self, line: str) -> None:
        """Show a line."""
        if self._active:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _write(self, row: dict[str, Any], group: str) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(f"{group}/{name}".lstrip("/").replace("val_", "val/", 1), value, row["step"])


def describe_losses(numbers: Mapping[str, float]) -> str:
    """The loss and its terms; beside each, how many of the batch's pairs were told from the others."""
    terms = [name.removeprefix("loss_") for name in numbers if name.startswith("loss_")]
    parts = [f"{term} {numbers[f'loss_{term}']:.3f} ({numbers[f'accuracy_{term}']:.0%} right)" for term in terms]
    return f"loss {numbers['loss']:.3f}: {', '.join(parts)}"


def describe_retrieval(numbers: Mapping[str, float]) -> str:
    """Recall on held-out blocks, both ways."""
    ways = {"tile_to_text": "tile to text", "text_to_tile": "text to tile"}
    found = [
        f"{words} R@1 {numbers[f'{way}_r1']:.3f} R@5 {numbers[f'{way}_r5']:.3f} R@10 {numbers[f'{way}_r10']:.3f}"
        for way, words in ways.items()
    ]
    return f"held out, {', '.join(found)}"


def cut_metrics(path: Path, step: int) -> None:
    """Drop rows after a step: a resumed run writes them again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) <= step]
        if kept != lines:
            write_text_atomically(path, "".join(line + "\n" for line in kept))


def draw_losses(metrics: Path, picture: Path) -> None:
    """Draw loss parts by step, and held-out retrieval below, if matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows = [
        json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if _step_of(line) < _CUT_SHORT
    ]
    figure = Figure(figsize=(8, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axis, begins, label in ((upper, "loss", "loss (nats)"), (lower, "val_t", "held-out recall")):
        names = sorted({name for row in rows for name in row if name.startswith(begins)})
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axis.plot(
                *zip(*points, strict=True), label=name.removeprefix("val_"), marker="." if len(points) < 30 else None
            )
        axis.set_ylabel(label)
        if names:
            axis.legend(fontsize="small")
    lower.set_xlabel("step")
    figure.savefig(picture, dpi=100)


def memory_mb() -> float | None:
    """Peak memory: of the GPU where there is one in use, else of this process; None where that can't be known."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory_mib()


def _tensorboard(folder: Path, first: int) -> Any:  # noqa: ANN401 - untyped library, optional
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # What a stopped run wrote after its last checkpoint is hidden; the checkpoint's own step stays.
    return SummaryWriter(str(folder), purge_step=first + 1 if first else None)


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return _CUT_SHORT
