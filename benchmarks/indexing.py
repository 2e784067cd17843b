"""Indexing: end to end against the bare encoder and a plain loop; adding to and opening 1 M tiles; memory of a build.

    python -m benchmarks.indexing throughput --model wildsat-mini --tile-px 128 --tiles 4000
    python -m benchmarks.indexing throughput --architecture timm:resnet50 --tile-px 224 --tiles 400 [--compile]
    python -m benchmarks.indexing large --rows 1000000
    python -m benchmarks.indexing memory --tiles 20000 100000
    python -m benchmarks.indexing throughput --architecture timm:vit_base_patch16_224 --features 768 --tile-px 224 \\
        --tiles 20000 --device cuda --workers 14
    python -m benchmarks.indexing gpu
    python -m benchmarks.indexing transfer --architecture timm:vit_base_patch16_224 --tile-px 224

"bare" embeds one batch of resident pixels again and again: nothing is decoded or written, and its rate is the most
that any index can reach. "loop" reads, embeds and writes one tile after another, as a first script would, with the
model as it is loaded; "loop-optimised" with the model set up for speed as the build does (bfloat16 where the device
multiplies it). All take turns in one run, so that a busy machine slows them alike; each figure is the median of the
turns. Beside tiles a second of the clock stand tiles a second of one processor, by the time that all processes took of
it, which a busy machine leaves nearly as it is.
"""

import argparse
from importlib import import_module

from wildsat_core.machine import let_threads_sleep


def _add_model(kind: argparse.ArgumentParser, model: str, features: int) -> None:
    """Options that say what embeds."""
    kind.add_argument("--model", default=model)
    kind.add_argument("--architecture", help="a backbone with random weights instead of a model")
    kind.add_argument("--features", type=int, default=features, help="of such a backbone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("throughput")
    _add_model(one, "wildsat-mini", features=2048)
    one.add_argument("--tiles", type=int, default=4000, help="of a raster of noise")
    one.add_argument("--input", help="a raster of 8 bits instead, cut whole")
    one.add_argument("--tile-km", type=float, help="cut that on the kilometre grid, not along its own pixels")
    one.add_argument("--tile-px", type=int, default=128)
    one.add_argument("--batch", type=int, default=256)
    one.add_argument("--threads", type=int, help="of the model; torch's own number if left out")
    one.add_argument("--workers", type=int, default=1)
    one.add_argument("--turns", type=int, default=3)
    one.add_argument("--compile", action="store_true", help="compile the model for full batches, before the turns")
    one.add_argument("--device", default="cpu", help="cpu or cuda; copying pixels there is part of every rate")
    one.set_defaults(run=("benchmarks.index_throughput", "throughput"))
    two = kinds.add_parser("large")
    two.add_argument("--rows", type=int, default=1_000_000)
    two.add_argument("--folder", help="keep the collection here for the next run")
    two.add_argument("--turns", type=int, default=10)
    two.add_argument("--interval", type=float, default=0.2, help="seconds between two looks of the service")
    two.set_defaults(run=("benchmarks.index_growth", "large"))
    three = kinds.add_parser("memory")
    three.add_argument("--tiles", type=int, nargs="+", default=[20_000, 100_000])
    three.set_defaults(run=("benchmarks.index_growth", "memory"))
    four = kinds.add_parser("one-build")
    four.add_argument("tiles", type=int)
    four.set_defaults(run=("benchmarks.index_growth", "one_build"))
    five = kinds.add_parser("gpu")
    five.add_argument("--rows", type=int, default=10_000_000)
    five.add_argument("--dim", type=int, default=256)
    five.add_argument("--device", default="cuda")
    five.set_defaults(run=("benchmarks.gpu_search", "gpu"))
    six = kinds.add_parser("transfer")
    _add_model(six, "wildsat-s2", features=768)
    six.add_argument("--tile-px", type=int, default=64)
    six.add_argument("--batch", type=int, default=256)
    six.add_argument("--batches", type=int, default=32)
    six.add_argument("--turns", type=int, default=5)
    six.add_argument("--device", default="cuda")
    six.set_defaults(run=("benchmarks.transfer", "transfer"))
    seven = kinds.add_parser("requests")
    seven.add_argument("--side", type=int, default=6144, help="of the file, in pixels")
    seven.add_argument("--blocks", type=int, nargs="+", default=[256, 512, 1024])
    seven.add_argument("--tile-px", type=int, nargs="+", default=[64, 128, 256, 512])
    seven.add_argument("--workers", type=int, default=0)
    seven.set_defaults(run=("benchmarks.range_requests", "range_requests"))
    args = parser.parse_args()
    let_threads_sleep()  # as `wildsat` does
    module, function = args.run
    # Not imported above: reading processes import this module anew, which should cost as little as with `wildsat`.
    getattr(import_module(module), function)(args)


if __name__ == "__main__":
    main()
