"""Training steps a second, against a plain loop on the same pictures, network and batch, in turns in one run.

python -m benchmarks.training                                  two minutes on two CPU cores
python -m benchmarks.training --row resnet50-random --input-px 224 --batch 64 --workers 8      on a GPU

The plain loop does what a first version would: every picture is decoded and augmented by itself with PIL and
torchvision at its full size, float32, ordinary memory layout, anchor and positive through the network one after the
other, and torch's Adam as it comes. Both read the same files with the same number of workers. While
one is timed, the workers of the other are stopped, so that neither reads ahead in the other's time.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, Dataset

from training import loop
from training.config import TrainConfig
from training.data.stream import batch_loader
from training.data.tables import EMBEDDINGS, DatasetAbout, pairs_table, places_table, texts_table, write_dataset
from training.distributed import choose_device
from training.report import Reporter, memory_mb
from wildsat_core.torchvision_guard import guard_torchvision

# Dense bf16 rates in FLOP/s, from NVIDIA's data sheets.
BF16_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "L40": 181e12}
TEXT_DIM = 384


def make_data(folder: Path, pictures: int, tile_px: int) -> Path:
    """Smooth coloured noise in PNG files, two dates a place: about as hard to decode as farmland."""
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    names = [f"{site}_{date}.png" for site in range(pictures // 2) for date in range(2)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(make_picture, folder / "pictures", tile_px), names))
    places, pairs = [], []
    for site in range(pictures // 2):
        for date in range(2):
            name = f"{site}_{date}.png"
            places.append({"path": name, "window": None, "lon": site * 0.1, "lat": 40.0, "captured_on": None,
                           "cell": site, "site": site, "split": "train"})  # fmt: skip
        pairs.append({"place": 2 * site, "text": site, "group": site, "lon": site * 0.1, "lat": 40.0})
    texts = [
        {"species": str(i), "section": None, "text": str(i), "source": "", "licence": ""} for i in range(len(pairs))
    ]
    embeddings = generator.standard_normal((len(pairs), TEXT_DIM)).astype(np.float32)
    save_file({"embeddings": embeddings}, folder / EMBEDDINGS)
    about = DatasetAbout(imagery="pictures", text_encoder="minilm")
    write_dataset(folder, about, places_table(places), texts_table(texts), pairs_table(pairs))
    return folder


def make_picture(folder: Path, tile_px: int, name: str) -> None:
    generator = np.random.default_rng(list(name.encode()))
    coarse = generator.integers(0, 255, (tile_px // 8, tile_px // 8, 3), dtype=np.uint8)
    fine = generator.integers(-12, 12, (tile_px, tile_px, 3))
    smooth = Image.fromarray(coarse).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
    smooth = smooth.filter(ImageFilter.GaussianBlur(1))
    Image.fromarray((np.asarray(smooth) + fine).clip(0, 255).astype(np.uint8)).save(folder / name)


class PlainPairs(Dataset):
    """Two views of a place, made one picture at a time."""

    def __init__(self, data: Path, count: int) -> None:
        guard_torchvision()
        from torchvision import transforms as t

        self.folder, self.count = data / "pictures", count
        sites = len(list(self.folder.glob("*_0.png")))
        self.sites = sites
        self.embeddings = torch.randn(sites, TEXT_DIM)
        tile_px = Image.open(self.folder / "0_0.png").size[0]
        self.anchor = t.Compose([t.RandomHorizontalFlip(), t.RandomVerticalFlip(), t.PILToTensor()])
        self.positive = t.Compose(
            [
                t.RandomApply([t.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
                t.RandomGrayscale(0.2),
                t.RandomApply([t.GaussianBlur(5, (0.1, 2.0))], p=0.5),
                t.RandomHorizontalFlip(),
                t.RandomResizedCrop(224, (0.2, 1.0)),
                t.Resize(tile_px),
                t.PILToTensor(),
            ]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        site = index % self.sites
        anchor = self.anchor(Image.open(self.folder / f"{site}_0.png").convert("RGB")) / 255
        before, same, after = (kernel := torch.rand(3)) / kernel.sum()
        mixing = torch.stack([same, after, same.new_zeros(()), before, same, after, same.new_zeros(()), before, same])
        anchor = (mixing.view(3, 3) @ anchor.flatten(1)).reshape(anchor.shape)
        anchor = (anchor + torch.randn_like(anchor) * random.uniform(0, 0.04)).clamp(0, 1) * 255
        positive = self.positive(Image.open(self.folder / f"{site}_1.png").convert("RGB")).float()
        return anchor, positive, self.embeddings[site]


def plain_stepper(config: TrainConfig, data: Path, device: torch.device, steps: int) -> Callable[[], float]:
    """A function that does one step of the plain loop."""
    from training.assembly import build_model
    from training.data.tables import open_dataset

    model = build_model(config, open_dataset(data)).to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    run = config.run
    loader = DataLoader(
        PlainPairs(data, steps * run.batch), run.batch, shuffle=True, num_workers=config.data.workers, drop_last=True
    )
    stream: Iterator = iter(loader)
    targets = torch.arange(run.batch, device=device)

    def contrast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        logits = 2.3026 * a @ b.T
        return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2

    def step() -> float:
        anchor, positive, text = (x.to(device) for x in next(stream))
        first, second = model(anchor), model(positive)
        loss = 2 * contrast(first["text"], model.project_texts(text)) + 4 * contrast(first["image"], second["image"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def our_stepper(run: loop._Run) -> Callable[[], float]:
    """A function that does one step of the project's own loop."""
    config, device = run.config, run.device
    network = run._network()
    stream = iter(batch_loader(run.pairs, run.batches, workers=config.data.workers, pin=device.type == "cuda"))
    reporter = Reporter(run.folder, steps=1, first=0, pairs_per_step=1, active=False)
    run.module.train()

    def step() -> float:
        loss = run._step(network, stream, reporter)["loss"]
        run.progress.step += 1
        return loss

    return step


class Contender:
    """A loop with its worker processes, which run only while it is timed."""

    def __init__(self, make: Callable[[], Callable[[], float]], device: torch.device) -> None:
        before = set(multiprocessing.active_children())
        self._step, self._device, self.memory_mb = make(), device, 0.0
        self._workers = [child.pid for child in set(multiprocessing.active_children()) - before]
        self._signal(signal.SIGSTOP)

    def timed(self, count: int) -> tuple[float, float]:
        """Seconds a step by the clock, and of this process's processor time; the second is steady on a busy machine."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # the other loop's activations are not this one's
        with self._running():
            started, used = time.perf_counter(), time.process_time()
            for _ in range(count):
                self._step()
            if self._device.type == "cuda":
                torch.cuda.synchronize()
            self.memory_mb = memory_mb() or math.nan
            return (time.perf_counter() - started) / count, (time.process_time() - used) / count

    @contextmanager
    def _running(self) -> Iterator[None]:
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """Let the workers run, so that they can end."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)


def flops_per_step(run: loop._Run, batch: int, input_px: int) -> float:
    """Operations of forward and backward for both views."""
    from torch.utils.flop_counter import FlopCounterMode

    pixels = torch.rand(2 * batch, 3, input_px, input_px, device=run.device) * 255
    with FlopCounterMode(display=False) as counter:
        sum(v.float().sum() for v in run.module.model(pixels).values()).backward()
    run.optimiser.zero_grad()
    return float(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", default="timm:resnet18")
    parser.add_argument("--tile-px", type=int, default=512)
    parser.add_argument("--input-px", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of each loop in a round")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="run.compile=true for our loop; compiling is not timed")
    options = parser.parse_args()
    device, load = choose_device("auto"), os.getloadavg()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        data = make_data(Path(folder) / "data", 4 * options.batch, options.tile_px)
        total = options.warm_up + options.rounds * options.steps + 8 * max(1, options.workers)
        config = TrainConfig.model_validate(
            {
                "name": "benchmark",
                "model": {"row": options.row, "start": "none", "input_px": options.input_px},
                "data": {"folder": data, "tile_px": options.tile_px, "workers": options.workers},
                "losses": {"location": 0},
                "optimiser": {"schedule": "none"},
                "run": {
                    "folder": Path(folder) / "run",
                    "batch": options.batch,
                    "steps": total,
                    "compile": options.compile,
                },
            }
        )
        run = loop._Run(config, device, resume=False, held=held)
        plain = Contender(lambda: plain_stepper(config, data, device, total), device)
        ours = Contender(lambda: our_stepper(run), device)
        for contender in (plain, ours):
            contender.timed(options.warm_up)
        seconds: dict[str, list[tuple[float, float]]] = {"plain": [], "ours": []}
        for _ in range(options.rounds):  # in turns, so that other load on the machine falls on both
            seconds["plain"].append(plain.timed(options.steps))
            seconds["ours"].append(ours.timed(options.steps))
        plain.close()
        ours.close()
        plain_s, plain_cpu_s = (statistics.median(s) for s in zip(*seconds["plain"], strict=True))
        ours_s, ours_cpu_s = (statistics.median(s) for s in zip(*seconds["ours"], strict=True))
        ratios = [a[0] / b[0] for a, b in zip(seconds["plain"], seconds["ours"], strict=True)]
        result = {
            "device": torch.cuda.get_device_name()
            if device.type == "cuda"
            else f"cpu, {torch.get_num_threads()} threads",
            "precision": "bf16" if run.bf16 else "fp32",
            "load_before": [round(x, 1) for x in load],
            **vars(options),
            "plain_s_per_step": round(plain_s, 4),
            "ours_s_per_step": round(ours_s, 4),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(r, 2) for r in ratios],
            # Without worker processes this is all the work there is, whoever else uses the machine.
            "processor_time_ratio": round(plain_cpu_s / ours_cpu_s, 2) if options.workers == 0 else None,
            "tiles_per_s": round(2 * options.batch / ours_s, 1),
            # Of the GPU: with the weights of both loops, and one's activations. Without one, of this process.
            "memory_mb": {"plain": round(plain.memory_mb), "ours": round(ours.memory_mb)},
        }
        peak = next((v for k, v in BF16_PEAK.items() if device.type == "cuda" and k in result["device"]), None)
        if peak:
            rate = flops_per_step(run, options.batch, options.input_px) / ours_s
            result["share_of_bf16_peak"] = round(rate / peak, 3)
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
