"""All shards of a generation asked as one: what they say is put together so that nobody can tell how many there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.manifest import Manifest
from wildsat_core.collection.moments import Moments
from wildsat_core.collection.reader import Collection
from wildsat_core.errors import ShardsMissingError, TileNotFoundError
from wildsat_core.ground_scale import GroundScale
from wildsat_core.search.distribution import Distribution
from wildsat_core.search.extents import Extent
from wildsat_core.search.floor import Counts, Floor, find_lowest
from wildsat_core.search.layout import Layout
from wildsat_core.search.paging import Page, Position
from wildsat_core.search.plan import Plan
from wildsat_core.search.query import Filters
from wildsat_core.search.scan import Rows, Scores
from wildsat_core.search.scorer import ScanSettings
from wildsat_core.search.shard import Asked, Found, Shard
from wildsat_core.search.sorting import Sorting
from wildsat_core.search.spread import Barred, Places
from wildsat_core.types import Space, SpaceSpec, Tile

if TYPE_CHECKING:
    import pyarrow as pa

Value = TypeVar("Value")
Later = Callable[[], Value]  # waits for what was begun


class Shards(ABC):
    """The shards of one generation; see `LocalShards`."""

    def __init__(self, layout: Layout) -> None:
        """Ask nothing yet."""
        self.layout = layout
        self.missing: frozenset[int] = frozenset()

    @abstractmethod
    def _begin(self, shard: int, method: str, *args: Any) -> Later[Any]:  # noqa: ANN401 - of `Shard`
        """Begin to ask one shard for what a method of `Shard` gives."""

    # Asking.

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is begun within may reach each shard as one message, when the block ends; wait for it afterwards."""
        yield

    def begin(self, method: str, *args: Any) -> Later[list[Any]]:  # noqa: ANN401 - of `Shard`
        """Begin to ask all shards."""
        begun = [self._begin(i, method, *args) for i in range(len(self.layout.shards)) if i not in self.missing]
        return lambda: [answer() for answer in begun]

    def all(self, method: str, *args: Any) -> list[Any]:  # noqa: ANN401 - of `Shard`
        """What each shard says."""
        return self.begin(method, *args)()

    def begin_at(self, method: str, rows: Rows, *args: Any) -> Later[list[tuple[Rows, Any]]]:  # noqa: ANN401 - of `Shard`
        """Begin to ask each shard about its own of some rows (R,); answers come with the rows' places, (n,)."""
        owners = self.layout.owners(rows)
        begun = []
        for shard in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == shard)
            begun.append((mine, self._begin(shard, method, rows[mine], *args)))
        return lambda: [(mine, answer()) for mine, answer in begun]

    # What is searched.

    @property
    def manifest(self) -> Manifest:
        return self.layout.manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def spaces(self) -> Mapping[Space, SpaceSpec]:
        return self.manifest.spaces

    @property
    def live(self) -> int:
        """How many tiles the shards have that are not missing."""
        return sum(self.layout.live_in(i) for i in range(len(self.layout.shards)) if i not in self.missing)

    @cached_property
    def moments(self) -> Mapping[Space, Moments]:
        """Moments of the vectors of all tiles, summed in the order of the segments."""
        of = dict(pair for part in self.all("moments") for pair in part)
        total = {space: Moments.zero(spec.dim) for space, spec in self.spaces.items()}
        for segment in sorted(of):
            for space in total:
                total[space] += of[segment][space]
        return total

    @cached_property
    def extent(self) -> Extent:
        """Where and when the tiles lie."""
        return Extent.of_all(self.all("extent"))

    @cached_property
    def ground_scale(self) -> GroundScale | None:
        """Pixel sizes and sides of the tiles; None where no pixel size is known."""
        return GroundScale.of_all(self.all("ground_scale"))

    def step(self, most: int) -> int:
        """Each so-many-th tile makes an even sample of at most `most` tiles."""
        return max(1, -(-int(self.layout.live_before[-1]) // most))

    def evenly(self, count: int) -> Rows:
        """(R,) rows of at most `count` tiles, an even sample of all, ascending."""
        return np.sort(np.concatenate(self.all("evenly", self.step(count))))

    def middling_height(self, most: int) -> float:
        """Degrees from south to north of the middling tile of an even sample; 0 without tiles."""
        heights = np.concatenate(self.all("heights", self.step(most)))
        return float(np.median(heights)) if len(heights) else 0.0

    # Tiles.

    def row_of(self, tile_id: str) -> int:
        """Row of a tile.

        Raises:
            TileNotFoundError: no tile has this id.
            ShardsMissingError: none of those at hand has, and some shards can't be reached.
        """
        rows = self.rows_of([tile_id])
        if not rows.size:
            if self.missing:
                raise ShardsMissingError(f"tile {tile_id!r} may be in a part of {self.name!r} that can't be reached")
            raise TileNotFoundError(f"collection {self.name!r} has no tile {tile_id!r}")
        return int(rows[0])

    def rows_of(self, tile_ids: Sequence[str]) -> Rows:
        """(R,) rows of tiles, ascending; unknown ids are left out."""
        return np.sort(np.concatenate(self.all("rows_of", list(tile_ids)))) if tile_ids else np.empty(0, np.int64)

    def begin_tiles(self, rows: Rows) -> Later[list[Tile]]:
        """Begin to read the tiles of some rows (R,), in the order given."""
        answers = self.begin_at("tiles_at", rows)

        def tiles() -> list[Tile]:
            of = {int(place): tile for mine, some in answers() for place, tile in zip(mine, some, strict=True)}
            return [of[place] for place in range(len(rows))]

        return tiles

    def begin_vectors(self, space: Space, rows: Rows) -> Later[Scores]:
        """Begin to read (K, D) float32 vectors of some rows, in the order given."""
        answers = self.begin_at("vectors", rows, space)
        dim = self.spaces[space].dim
        return lambda: _placed(answers(), np.empty((len(rows), dim), np.float32))

    def vectors(self, space: Space, rows: Rows) -> Scores:
        """(K, D) float32 vectors of some rows, in the order given."""
        return self.begin_vectors(space, rows)()

    def table(self, rows: Rows) -> pa.Table:
        """Some rows (R,) of the table of tiles, in the order given."""
        import pyarrow as pa

        from wildsat_core.collection.tile_files import schema

        answers = self.begin_at("table", rows)()
        if not answers:
            return schema().empty_table()
        places = np.concatenate([mine for mine, _ in answers])
        whole = pa.concat_tables([some for _, some in answers]).unify_dictionaries().combine_chunks()
        return whole if len(answers) == 1 else whole.take(np.argsort(places))

    def thumbnail(self, row: int) -> bytes | None:
        """WebP bytes of a row's picture, None when it has none."""
        shard = int(self.layout.owners(np.array([row]))[0])
        picture: bytes | None = self._begin(shard, "thumbnail", row)()
        return picture

    def nearest(self, lon: float, lat: float, count: int) -> tuple[Rows, npt.NDArray[np.float64]]:
        """Rows of the tiles whose centres are nearest to a place, nearest first, (R,); how far they are in km, (R,)."""
        answers = self.all("nearest", lon, lat, count)
        rows, away_km = (np.concatenate(each) for each in zip(*answers, strict=True))
        best = np.lexsort((rows, away_km))[:count]
        return rows[best], away_km[best]

    # Filters.

    def passing(self, filters: Filters) -> Rows:
        """(R,) rows that satisfy every filter except `min_percentile`, ascending."""
        return np.sort(np.concatenate(self.all("passing", filters)))

    def count(self, filters: Filters) -> int:
        """How many rows do."""
        return sum(self.all("count", filters))

    def page(self, filters: Filters, limit: int, after: Position | None, skip: int, sorting: Sorting = ()) -> Page:
        """A page of them; see `Pages.page`."""
        parts: list[Page] = self.all("page", filters, skip + limit, after, sorting)
        found = [found for part in parts for found in zip(part.positions, part.rows.tolist(), strict=True)]
        found.sort(key=lambda at_and_row: at_and_row[0].rank(sorting))
        shown = found[skip : skip + limit]
        more = len(found) > skip + limit or any(part.more for part in parts)
        return Page(np.array([row for _, row in shown], np.int64), [at for at, _ in shown], more)

    # Ranking.

    def best(self, asked: Asked, wanted: int, count: int, left_out: Rows, barred: Barred | None = None) -> Found:
        """The `count` best rows of all; `left_out` (L,); see `Shard.best`."""
        parts: list[Found] = self.all("best", asked, wanted, count, left_out, barred)
        rows, scores = (np.concatenate([getattr(p, name) for p in parts]) for name in ("rows", "scores"))
        order = np.lexsort((rows, -scores))[:count]
        told = sorted({p.backend for p in parts if len(p.rows)} or {p.backend for p in parts})
        return Found(
            rows[order],
            scores[order],
            _all_places([p.places for p in parts], order),
            sum(p.ranked for p in parts),
            sum(p.matched for p in parts),
            sum(p.left_out for p in parts),
            "; ".join(told),
            all(p.exact for p in parts),
            all(p.scanned for p in parts),
        )

    def begin_below(self, plan: Plan, scores: Scores, every: bool) -> Later[tuple[Counts, int]]:
        """Begin to count for (K,) scores; see `Shard.below`."""
        answers = self.begin("below", plan, scores, every)

        def below() -> tuple[Counts, int]:
            counts, asked = zip(*answers(), strict=True)
            return np.sum(counts, axis=0), sum(asked)

        return below

    def distribution(self, plan: Plan) -> Distribution:
        """Of the scores of all tiles, or of an even sample of them."""
        return Distribution.of(self.live, self.all("body", plan))

    def joined(self, method: str, *args: Any) -> Scores:  # noqa: ANN401 - of `Shard`
        """A number for each row of the generation, (N,), from a method that gives one for each row of a shard.

        Rows that are missing get NaN.
        """
        out = np.full(self.manifest.rows, np.nan, np.float32)
        here = [i for i in range(len(self.layout.shards)) if i not in self.missing]
        for shard, part in zip(here, self.all(method, *args), strict=True):
            first = 0
            for segment in self.layout.shards[shard]:
                start, stop = self.layout.offsets[segment : segment + 2].tolist()
                out[start:stop] = part[first : first + stop - start]
                first += stop - start
        return out

    def scores(self, plan: Plan) -> Scores:
        """Scores of all rows as the first pass gives them, (N,)."""
        return self.joined("scores", plan)

    def scores_at(self, rows: Rows, plan: Plan) -> Scores:
        """The same of some rows (R,), (R,), in the order given."""
        return _placed(self.begin_at("scores_at", rows, plan)(), np.empty(len(rows), np.float32))

    def rough_at(self, rows: Rows, plan: Plan) -> tuple[Scores, float]:
        """The same of some rows (R,), (R,), and how far off they can be."""
        answers = self.begin_at("rough", rows, plan)()
        scores = _placed([(mine, some) for mine, (some, _) in answers], np.empty(len(rows), np.float32))
        return scores, max((bound for _, (_, bound) in answers), default=0.0)

    def exact_at(self, rows: Rows, plan: Plan) -> Scores:
        """(R,) exact scores of some rows (R,), in the order given."""
        return _placed(self.begin_at("exact", rows, plan)(), np.empty(len(rows), np.float32))

    def sampled(self, plans: Sequence[Plan], most: int) -> Scores:
        """Exact scores of an even sample of at most `most` tiles, (P, K)."""
        return np.concatenate(self.all("sampled", list(plans), self.step(most)), axis=1)

    def near_score(self, asked: Asked, score: float, judged: Rows, count: int) -> Rows:
        """(n,) rows that are not judged, (J,), whose scores are nearest to one, nearest first."""
        answers = self.all("near_score", asked, score, judged, count)
        rows, nearness = (np.concatenate(each) for each in zip(*answers, strict=True))
        best: Rows = rows[np.lexsort((rows, -nearness))[:count]]
        return best

    def floor(self, plan: Plan, lower: int) -> Floor:
        """Which scores more than `lower` tiles, at least 1, score lower than or as high as; see the module `floor`."""
        bounds: list[float] = []

        def ask(known: Sequence[int]) -> Counts:
            counts, off = zip(*self.all("histogram", plan, list(known)), strict=True)
            bounds.extend(off)
            return np.asarray(np.sum(counts, axis=0))

        edge = np.float32(find_lowest(lower, ask))
        # The exact edge is off by the bound at most, and so is each score.
        least, most = edge - np.float32(2 * max(bounds)), edge + np.float32(2 * max(bounds))
        lower_ones, near = zip(*self.all("between", plan, float(least), float(most)), strict=True)
        exact, rank = np.concatenate(near), lower - 1 - sum(lower_ones)
        return Floor(float(least), float(most), float(np.partition(exact, rank)[rank]))


class LocalShards(Shards):
    """Shards in this process; by default one."""

    def __init__(
        self,
        collection: Collection,
        texts: Scores,
        settings: ScanSettings,
        count: int = 1,
        previous: Shards | None = None,
    ) -> None:
        """Open them.

        Args:
            collection: the whole generation.
            texts: see `Shard`.
            settings: see `Shard`.
            count: how many shards.
            previous: those of an earlier generation; what both have in common is not prepared again.
        """
        before = previous if isinstance(previous, LocalShards) and len(previous.shards) == count else None
        super().__init__(Layout.of(collection.manifest, count, before.layout if before else None))
        self.collection = collection
        self.shards: list[Shard] = [
            Shard(
                collection.root,
                self.layout,
                i,
                texts,
                settings,
                before.shards[i] if before else None,
                collection if count == 1 else None,
            )
            for i in range(count)
        ]

    def _begin(self, shard: int, method: str, *args: Any) -> Later[Any]:  # noqa: ANN401 - of `Shard`
        answer = getattr(self.shards[shard], method)(*args)
        return lambda: answer


def _placed(answers: Sequence[tuple[Rows, Any]], out: Scores) -> Scores:
    for mine, some in answers:
        out[mine] = some
    return out


def _all_places(parts: Sequence[Places], order: Rows) -> Places:
    """The places of several shards as one, in some order; each has countries of its own."""
    countries = {name: i for i, name in enumerate(dict.fromkeys(name for part in parts for name in part.countries))}
    codes = [np.array([*(countries[name] for name in p.countries), -1], np.int32)[p.country] for p in parts]
    lon, lat = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("lon", "lat"))
    return Places(lon, lat, np.concatenate(codes)[order], tuple(countries))
