"""The retrieval benchmark: what a model finds over all land when asked in words, against what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import Cells
from training.earth.mosaics import crop_tiles, load_bmng
from training.earth.squares import TileTable, grid_tiles, held_out, land_tiles
from training.evaluation.baseline import colour_vectors
from training.evaluation.measures import (
    average_precision,
    bootstrap_interval,
    ndcg_at,
    precision_at,
)
from training.evaluation.queries import BenchmarkQuery, read_nonsense, read_paraphrases, read_queries, relevance
from training.evaluation.searchable import searchable
from wildsat_core.bands import RGB
from wildsat_core.countries import load_countries
from wildsat_core.errors import InvalidInputError
from wildsat_core.land import load_land
from wildsat_core.models.model import WildSATModel
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Query, TextTerm
from wildsat_core.text.familiarity import Familiarity
from wildsat_core.types import Space

Scores = NDArray[np.float32]
Truth = NDArray[np.bool_]

FEWEST_RELEVANT = 20  # on the held-out blocks, queries with fewer answers there are left out
OVERLAP_AT = 50
BLEND_TOLERANCE = 0.002
BATCH = 512
OWN_SIZE_PX = 224  # of a tile for a network that takes pictures of any size: a transformer's, and no more than is there
KEPT_PX = 64


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The benchmark's tiles as a model sees them, and the truth about them.

    Attributes:
        engine: searches a collection that holds the tiles.
        rows: (N,) row of each tile in that collection.
        tiles: N tiles; they lie half a step off the training tiles.
        pixels: (N, 3, S, S) uint8, for people and for colour.
        place: (N, D) of length 1; None for a model without a place space.
        truth: (Q, N).
    """

    model: WildSATModel
    engine: SearchEngine
    rows: NDArray[np.int64]
    tiles: TileTable
    pixels: NDArray[np.uint8]
    place: Scores | None
    queries: list[BenchmarkQuery]
    truth: Truth

    def scores(self, texts: list[str], blend: float) -> NDArray[np.floating[Any]]:
        """(T, N) what the search engine ranks by, for texts at a blend of the place space."""
        plans = [self.engine.plan(Query((TextTerm(text),), blend=blend)) for text in texts]
        return np.stack([self.engine.scores(plan)[self.rows] for plan in plans])

    @property
    def blends(self) -> tuple[float, ...]:
        """Those that are reported: both ends and the model's default; picture alone where there is no place space."""
        return (0.0,) if self.place is None else (0.0, self.model.config.default_blend, 1.0)


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over a set of queries, and the interval of the mean precision at 20."""

    queries: int
    p1: float
    p10: float
    p20: float
    p20_interval: tuple[float, float]
    ndcg20: float
    mean_average_precision: float
    chance: float


def embed_benchmark(model: WildSATModel, cells: Cells) -> Evaluated:
    """Cut the benchmark's tiles from the demo's imagery and embed them."""
    tiles = land_tiles(cells, grid_tiles(shift=0.5))
    text, pixels = _embed_tiles(model, tiles)
    vectors: dict[Space, Scores] = {"text": text}
    place = model.embed_places(tiles.lon_lat)["place"] if "place" in model.spaces else None
    if place is not None:
        vectors["place"] = place
    countries = load_countries().code_at(tiles.lon_lat, within_km=tiles.side_km[0] / 2)  # as when tiles are indexed
    engine, rows = searchable(model, tiles, vectors, countries, load_land())
    queries = read_queries()
    return Evaluated(model, engine, rows, tiles, pixels, place, queries, relevance(queries, cells, tiles))


def _embed_tiles(model: WildSATModel, tiles: TileTable) -> tuple[Scores, NDArray[np.uint8]]:
    """The tiles' text vectors (N, D), and their pictures at the size that is kept, (N, 3, S, S).

    Raises:
        InvalidInputError: the model has no text space, or reads other bands than red, green and blue.
    """
    if "text" not in model.config.tile_heads or model.text_head is None:
        raise InvalidInputError(f"{model.config.name} has no text space; it can't be asked in words", "model")
    spec = model.config.preprocessing
    if set(spec.bands) != set(RGB):
        raise InvalidInputError(
            f"{model.config.name} reads {', '.join(spec.bands)}; the benchmark's imagery is true colour", "model"
        )
    order = [RGB.index(band) for band in spec.bands]
    input_px, mosaic = spec.input_px or OWN_SIZE_PX, load_bmng()
    kept_px = min(input_px, KEPT_PX)
    vectors, pictures = [], []
    for start in range(0, len(tiles), BATCH):
        part = tiles.take(np.arange(start, min(start + BATCH, len(tiles))))
        pixels = crop_tiles(mosaic, part, input_px).transpose(0, 3, 1, 2)
        vectors.append(model.embed_pixels(np.ascontiguousarray(pixels[:, order]))["text"])
        kept = pixels if kept_px == input_px else crop_tiles(mosaic, part, kept_px).transpose(0, 3, 1, 2)
        pictures.append(kept)
    return np.concatenate(vectors), np.concatenate(pictures)


def with_queries(evaluated: Evaluated, queries: list[BenchmarkQuery], cells: Cells) -> Evaluated:
    """The same tiles and vectors, asked other queries."""
    return replace(evaluated, queries=queries, truth=relevance(queries, cells, evaluated.tiles))


def measure(scores: NDArray[np.floating[Any]], truth: Truth) -> dict[str, NDArray[np.float64]]:
    """Every measure of every query, each (Q,)."""
    return {
        "p1": precision_at(scores, truth, 1),
        "p10": precision_at(scores, truth, 10),
        "p20": precision_at(scores, truth, 20),
        "ndcg20": ndcg_at(scores, truth, 20),
        "ap": average_precision(scores, truth),
    }


def summarise(measures: dict[str, NDArray[np.float64]], truth: Truth, rows: Truth) -> Summary | None:
    """Means of measures (Q,) over the queries that `rows` (Q,) marks, with their truth (Q, N); None for no query."""
    if not rows.any():
        return None
    chance = truth.mean(1)[rows]
    mean = {name: round(float(values[rows].mean()), 4) for name, values in measures.items()}
    low, high = bootstrap_interval(measures["p20"][rows])
    return Summary(
        queries=int(rows.sum()),
        p1=mean["p1"],
        p10=mean["p10"],
        p20=mean["p20"],
        p20_interval=(round(low, 4), round(high, 4)),
        ndcg20=mean["ndcg20"],
        mean_average_precision=mean["ap"],
        chance=round(float(chance.mean()), 4),
    )


def summaries(scores: NDArray[np.floating[Any]], truth: Truth, queries: list[BenchmarkQuery]) -> dict[str, Any]:
    """Summaries of all queries, each half, and each kind (all, and its held half); scores and truth are (Q, N)."""
    measures = measure(scores, truth)
    held = np.asarray([query.held for query in queries])
    kinds = np.asarray([query.kind for query in queries])
    groups = {"all": np.ones_like(held), "tuning": ~held, "held": held}
    for kind in dict.fromkeys(kinds.tolist()):
        groups[f"kind {kind}"] = kinds == kind
        groups[f"held kind {kind}"] = (kinds == kind) & held
    found = {name: summarise(measures, truth, rows) for name, rows in groups.items()}
    return {name: asdict(summary) for name, summary in found.items() if summary is not None}


def rank_all(evaluated: Evaluated) -> dict[str, Any]:
    """Summaries of each ranking over all tiles: both ends of the blend, the default, and colour alone."""
    texts = [query.text for query in evaluated.queries]
    rankings = {f"blend {blend:g}": evaluated.scores(texts, blend) for blend in evaluated.blends}
    everywhere = np.ones(len(evaluated.tiles), np.bool_)
    rankings["colour"] = _colour_scores(evaluated, everywhere)
    return {name: summaries(scores, evaluated.truth, evaluated.queries) for name, scores in rankings.items()}


def rank_held_out(evaluated: Evaluated) -> dict[str, Any]:
    """Image-only summaries on the held-out blocks alone, for a model that never saw them, and for colour.

    Colour's regression learns from the same tiles as the model did: those outside the blocks.
    """
    unseen = held_out(evaluated.tiles.lon, evaluated.tiles.lat)
    texts = [query.text for query in evaluated.queries]
    truth = evaluated.truth[:, unseen]
    enough = np.flatnonzero(truth.sum(1) >= FEWEST_RELEVANT)
    queries = [evaluated.queries[row] for row in enough]
    rankings = {
        "image only": evaluated.scores(texts, 0.0),
        "colour": _colour_scores(evaluated, ~unseen),
    }
    return {name: summaries(scores[enough][:, unseen], truth[enough], queries) for name, scores in rankings.items()}


def _colour_scores(evaluated: Evaluated, known: NDArray[np.bool_]) -> Scores:
    taught = evaluated.place  # without a place space colour learns what the model makes of the pictures
    if taught is None:
        taught = evaluated.engine.collection.vectors("text", evaluated.rows).astype(np.float32)
    vectors = colour_vectors(evaluated.pixels, taught, known)
    return np.asarray(evaluated.model.embed_texts([query.text for query in evaluated.queries]) @ vectors.T)


def paraphrase_overlap(evaluated: Evaluated) -> dict[str, Any]:
    """How much the best 50 of three wordings of one habitat have in common, at the default blend."""
    overlaps = []
    for group in read_paraphrases():
        best = np.argsort(-evaluated.scores(group, evaluated.model.config.default_blend), axis=1)[:, :OVERLAP_AT]
        pairs = [(a, b) for a in range(len(group)) for b in range(a)]
        shared = [len(np.intersect1d(best[a], best[b])) / OVERLAP_AT for a, b in pairs]
        overlaps.append({"texts": group, "overlap": round(float(np.mean(shared)), 3)})
    values = np.asarray([entry["overlap"] for entry in overlaps])
    return {"mean": round(float(values.mean()), 3), "at_least_half": int((values >= 0.5).sum()), "groups": overlaps}


def no_match_rates(evaluated: Evaluated, directory: Path) -> dict[str, Any]:
    """How often nonsense is seen for what it is, and how often a real query is taken for nonsense.

    Args:
        evaluated: the model and the queries.
        directory: the model's directory, where its sample of known texts lies.
    """
    if evaluated.model.config.no_match is None:
        return {}
    familiarity = Familiarity.open(directory, evaluated.model.config.no_match)
    nonsense, real = read_nonsense(), [query.text for query in evaluated.queries]
    flagged = _unfamiliar(evaluated, familiarity, nonsense)
    wrong = _unfamiliar(evaluated, familiarity, real)
    held = [query.text for query in evaluated.queries if query.held]
    return {
        "nonsense_flagged": round(len(flagged) / len(nonsense), 4),
        "real_flagged": round(len(wrong) / len(real), 4),
        "real_flagged_held": round(len([text for text in wrong if text in held]) / max(len(held), 1), 4),
        "nonsense_missed": [text for text in nonsense if text not in flagged],
        "real_flagged_texts": wrong,
    }


def _unfamiliar(evaluated: Evaluated, familiarity: Familiarity, texts: list[str]) -> list[str]:
    found = familiarity.of(evaluated.model.encode_texts(texts))
    return [text for text, value in zip(texts, found, strict=True) if value < familiarity.threshold]


def best_blend(lists: Sequence[Evaluated], steps: int = 20) -> float:
    """The blend for the tuning halves of lists of queries, each list counting alike: the lowest near the best.

    Where it costs nothing the picture should have its say: it is the only witness of what a place looks like.
    """
    blends = np.linspace(0, 1, steps + 1)
    precision = np.mean([[_tuning_precision(one, float(blend)) for blend in blends] for one in lists], axis=0)
    return round(float(blends[precision >= precision.max() - BLEND_TOLERANCE][0]), 3)


def _tuning_precision(evaluated: Evaluated, blend: float) -> float:
    rows = [row for row, query in enumerate(evaluated.queries) if not query.held and evaluated.truth[row].any()]
    scores = evaluated.scores([evaluated.queries[row].text for row in rows], blend)
    return float(precision_at(scores, evaluated.truth[rows], 20).mean())


def queries_report(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Every query with its precision at 20 at each blend that there is, worst at the default first."""
    texts = [query.text for query in evaluated.queries]
    default = evaluated.model.config.default_blend
    found = {blend: precision_at(evaluated.scores(texts, blend), evaluated.truth, 20) for blend in evaluated.blends}
    rows = [
        {
            "text": query.text,
            "kind": query.kind,
            "held": query.held,
            "relevant": int(evaluated.truth[i].sum()),
            "p20": round(float(found[default][i]), 3),
            "p20_image": round(float(found[0.0][i]), 3),
        }
        | ({} if evaluated.place is None else {"p20_place": round(float(found[1.0][i]), 3)})
        for i, query in enumerate(evaluated.queries)
    ]
    return sorted(rows, key=lambda row: row["p20"])
