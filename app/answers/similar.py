"""A ranking without one of its tiles: "more like this" is a list of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.catalog import Served
from wildsat_core.errors import LimitExceededError
from wildsat_core.search.query import MAX_K, Query, SearchResult


def without_tile(tile_id: str, query: Query, served: Served, search: Callable[[Query], SearchResult]) -> SearchResult:
    """The answer to a query as if the tile were not in the collection; spacing and caps still count it.

    The tile may stand anywhere: with further terms others can come before it, and a filter may keep it out.

    Args:
        tile_id: the tile to leave out.
        query: what to search for; its k and offset count the others only.
        served: where.
        search: searches there.

    Raises:
        LimitExceededError: k leaves no room for the one more that has to be asked for.
    """
    if query.k >= MAX_K:
        raise LimitExceededError(f"k must be at most {MAX_K - 1} here, got {query.k}", "k")
    alone = replace(query, filters=replace(query.filters, tile_ids=frozenset({tile_id})))
    row = served.collection.row_of(tile_id)
    if not served.engine.rank(alone, 1).matched:
        return search(query)
    earlier = served.engine.rank(query, query.offset).rows if query.offset else ()
    shifted = query.offset + int(row in earlier)
    result = search(replace(query, offset=shifted, k=query.k + 1))
    others = [hit for hit in result.hits if hit.row != row][: query.k]
    hits = tuple(replace(hit, rank=rank) for rank, hit in enumerate(others, query.offset + 1))
    return replace(result, hits=hits, matched=result.matched - 1)
