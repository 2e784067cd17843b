"""What people get who type: short words, names and whole questions, understood and searched as the service does it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import Cells
from training.earth.squares import land_of, land_shares
from training.earth.vocabulary import Vocabulary
from training.evaluation.measures import bootstrap_interval
from training.evaluation.queries import (
    FRESH,
    FRESH2,
    FRESH3,
    RELEVANT_SHARE,
    BenchmarkQuery,
    judge,
    read_asked,
    read_nonsense,
    read_queries,
)
from training.evaluation.retrieval import Evaluated
from wildsat_core.geo import great_circle_km
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.search.species import load_species
from wildsat_core.search.understanding import understand

Rows = NDArray[np.int64]

HITS = 20
HUB_RANK = 10  # how often a tile stands among so many of the first, over all queries
SHORT, FRESH_SHORT = "short.yaml", "fresh_short.yaml"
TABLES = ("queries.yaml", FRESH, FRESH2, FRESH3, SHORT, FRESH_SHORT, "fresh2_short.yaml", "fresh3_short.yaml")
NAMES_EVERY = 331  # of the table's species, in its order
SEA = 0.25  # a picture with less land shows the sea


@dataclass(frozen=True, slots=True)
class Answer:
    """The tiles that a question was answered with, best first, and whether it was said that nothing matches."""

    tiles: Rows
    no_match: bool
    suggestion: str | None = None


class Asker:
    """Asks the benchmark's tiles as the service does, with or without reading the words first."""

    def __init__(self, evaluated: Evaluated, *, reads: bool = True, overlapping: bool = False) -> None:
        """Remember; `overlapping` shows overlapping tiles among the hits."""
        self._evaluated, self._reads, self._overlapping = evaluated, reads, overlapping
        self._tile_of = np.full(len(evaluated.engine.collection.tiles), -1)
        self._tile_of[evaluated.rows] = np.arange(len(evaluated.rows))
        self._species = load_species()

    def ask(self, text: str) -> Answer:
        result = self._evaluated.engine.search(self._query(text))
        rows = np.asarray([hit.row for hit in result.hits], np.int64)
        suggestion = result.understood.suggestion if result.understood else None
        tiles = self._tile_of[rows]
        return Answer(tiles[tiles >= 0], result.no_match, suggestion)

    def findable(self, text: str, truth: NDArray[np.bool_]) -> int:
        """How many of the right tiles the same ranking shows where no other may be a hit: those that can stand apart.

        Args:
            text: the question.
            truth: (N,) which tiles are right.
        """
        right = np.isin(self._tile_of, np.flatnonzero(truth))
        ids = self._evaluated.engine.collection.tiles.take(np.flatnonzero(right), ["tile_id"])["tile_id"]
        if not len(ids):
            return 0
        query = replace(self._query(text), filters=Filters(tile_ids=frozenset(ids.to_pylist())))
        return len(self._evaluated.engine.search(query).hits)

    def _query(self, text: str) -> Query:
        query = Query(k=HITS, overlapping=self._overlapping)
        if self._reads:
            return understand(text, self._species).apply(query)
        return replace(query, terms=(TextTerm(text),))


def asked_report(evaluated: Evaluated, cells: Cells) -> dict[str, Any]:
    """Everything that is measured of typed questions, ready for JSON."""
    asker = Asker(evaluated)
    literal = Asker(evaluated, reads=False, overlapping=True)
    tables = {name: read_queries(name) for name in TABLES}
    told: dict[str, Any] = {}
    firsts: dict[str, list[Rows]] = {"read": [], "literal": []}
    denied: list[str] = []
    for name, queries in tables.items():
        truth, coastal = judge(queries, cells, evaluated.tiles)
        for way, one in (("read", asker), ("literal", literal)):
            answers = [one.ask(query.text) for query in queries]
            firsts[way] += [answer.tiles[:HUB_RANK] for answer in answers]
            if way == "read":
                denied += [q.text for q, answer in zip(queries, answers, strict=True) if answer.no_match]
            possible = [one.findable(query.text, right) for query, right in zip(queries, truth, strict=True)]
            told.setdefault(name.removesuffix(".yaml"), {})[way] = _set_report(
                evaluated, cells, queries, answers, truth, coastal, possible
            )
    real = sum(len(queries) for queries in tables.values())
    return {
        "sets": told,
        "hubs": {way: hubness(found, len(evaluated.tiles)) for way, found in firsts.items()},
        "overlapping": {way: round(_overlap(evaluated, found), 4) for way, found in firsts.items()},
        "questions": _questions(evaluated, cells, asker),
        "names": _names(evaluated, asker),
        "no_match": _no_match(asker, denied, real),
    }


def hubness(firsts: list[Rows], count: int) -> dict[str, Any]:
    """How unevenly tiles come first: skew of how often each is among the first, and the most often.

    Source: Radovanovic, Nanopoulos and Ivanovic, Hubs in space, JMLR 11 (2010): the skew of the k-occurrence.
    """
    times = np.bincount(np.concatenate(firsts), minlength=count).astype(float)
    deviation = times.std()
    skew = float(((times - times.mean()) ** 3).mean() / max(deviation, 1e-9) ** 3)
    return {"skew": round(skew, 2), "most": int(times.max()), "queries": len(firsts)}


def precision_of(answer: Rows, truth: NDArray[np.bool_], possible: int | None = None) -> float:
    """Share of right tiles among the hits, or of those that could be found where these are fewer.

    Args:
        answer: the hits.
        truth: (N,) which tiles are right.
        possible: how many could be found, all that are right when not given.
    """
    most = min(int(truth.sum()) if possible is None else possible, HITS)
    return min(float(truth[answer].sum() / most), 1.0) if most else 1.0


def _set_report(
    evaluated: Evaluated,
    cells: Cells,
    queries: list[BenchmarkQuery],
    answers: list[Answer],
    truth: NDArray[np.bool_],
    coastal: NDArray[np.bool_],
    findable: list[int],
) -> dict[str, Any]:
    judged = zip(answers, truth, findable, strict=True)
    precision = np.asarray([precision_of(a.tiles, right, most) for a, right, most in judged])
    of_shown = np.asarray([t[a.tiles].mean() if len(a.tiles) else 0.0 for a, t in zip(answers, truth, strict=True)])
    possible = np.asarray(truth.any(1))
    land = land_of(cells, evaluated.tiles)
    sea = np.concatenate([land[a.tiles] < SEA for a, near in zip(answers, coastal, strict=True) if not near])
    held = np.asarray([query.held for query in queries])
    low, high = bootstrap_interval(precision[possible])
    kinds = dict.fromkeys(query.kind for query in queries)
    of_kind = {kind: np.asarray([query.kind == kind for query in queries]) & possible for kind in kinds}
    order = np.argsort(precision, kind="stable")
    return {
        "queries": int(possible.sum()),
        "p20": round(float(precision[possible].mean()), 4),
        "p20_interval": [round(low, 4), round(high, 4)],
        "p20_tuning": round(float(precision[possible & ~held].mean()), 4),
        "p20_held": round(float(precision[possible & held].mean()), 4),
        "right_of_shown": round(float(of_shown[possible].mean()), 4),
        "under_half": int((precision[possible] < 0.5).sum()),
        "sea_shown": round(float(sea.mean()), 4),
        "kinds": {kind: round(float(precision[rows].mean()), 3) for kind, rows in of_kind.items() if rows.any()},
        "each": {queries[i].text: round(float(precision[i]), 3) for i in order if possible[i]},
    }


def _overlap(evaluated: Evaluated, firsts: list[Rows]) -> float:
    """Share of hits whose square overlaps one that stands before it."""
    tiles, overlapping, count = evaluated.tiles, 0, 0
    for rows in firsts:
        for i in range(1, len(rows)):
            away = great_circle_km(
                float(tiles.lon[rows[i]]), float(tiles.lat[rows[i]]), tiles.lon[rows[:i]], tiles.lat[rows[:i]]
            )
            overlapping += bool((away < 0.95 * tiles.side_km[rows[i]]).any())
        count += len(rows)
    return overlapping / max(count, 1)


def _questions(evaluated: Evaluated, cells: Cells, asker: Asker) -> dict[str, Any]:
    """Places, negations, misspelt words and other languages."""
    asked, shares = read_asked(), land_shares(cells, evaluated.tiles)
    predicates = Vocabulary(cells).predicates

    def share(claim: str) -> NDArray[np.float32]:
        return np.asarray(shares @ predicates.mask(claim).astype(np.float32), dtype=np.float32)

    inside = {text: _share_of(share(claim)[asker.ask(text).tiles] > 0) for text, claim in asked["place"].items()}
    against = {
        text: _share_of(share(claims[0])[asker.ask(text).tiles] >= 0.5)
        for text, claims in asked["not"].items()
        if claims
    }
    languages = {
        text: precision_of(asker.ask(text).tiles, share(claim) >= RELEVANT_SHARE)
        for text, claim in asked["language"].items()
    }
    spelt = {text: asker.ask(text).suggestion == better for text, better in asked["typo"].items()}
    foreign = {text: asker.ask(text).no_match for text in asked["foreign"]}
    return {
        "hits_in_the_place": _mean_and_parts(inside),
        "hits_of_what_is_negated": _mean_and_parts(against),
        "p20_of_other_languages": _mean_and_parts(languages),
        "spelling_suggested": _mean_and_parts(spelt),
        "foreign_told": _mean_and_parts(foreign),
    }


def _share_of(truth: NDArray[np.bool_]) -> float:
    return float(truth.mean()) if len(truth) else 0.0


def _mean_and_parts(values: dict[str, Any]) -> dict[str, Any]:
    parts = {text: round(float(value), 3) for text, value in values.items()}
    return {"mean": round(float(np.mean(list(parts.values()))), 4), "each": parts}


def _names(evaluated: Evaluated, asker: Asker) -> dict[str, Any]:
    """Species asked by their names: share of hits within the published range, of those with a tile there at all."""
    tiles = evaluated.tiles
    half_width, half_height = tiles.width_deg / 2, tiles.height_deg / 2
    edges = (tiles.lon - half_width, tiles.lat - half_height, tiles.lon + half_width, tiles.lat + half_height)
    told: dict[str, list[float]] = {"scientific": [], "common": []}
    for one in load_species().species[::NAMES_EVERY]:
        region = one.region
        if region is None or not (inside := region.holds(*edges)).any():
            continue
        kinds = {"scientific": one.scientific_name}
        if one.common_name != one.scientific_name:
            kinds["common"] = one.common_name
        for kind, name in kinds.items():
            found = asker.ask(name).tiles
            told[kind].append(float(inside[found].mean()) if len(found) else 0.0)
    return {kind: {"names": len(v), "hits_in_range": round(float(np.mean(v)), 4)} for kind, v in told.items()}


def _no_match(asker: Asker, denied: list[str], real: int) -> dict[str, Any]:
    """How often nonsense is told, and how often a real word or name is taken for nonsense."""
    nonsense = {text: asker.ask(text).no_match for text in read_nonsense()}
    return {
        "nonsense_flagged": round(float(np.mean(list(nonsense.values()))), 4),
        "nonsense_missed": [text for text, flagged in nonsense.items() if not flagged],
        "real_flagged": round(len(denied) / real, 4),
        "real_flagged_texts": denied,
    }
