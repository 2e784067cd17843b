"""An MCP server (https://modelcontextprotocol.io): language-model agents search as people do, through the REST API.

It holds no collection and no model: each tool asks a running service by the Python client. So it starts in a moment,
and an agent gets no more than any other client.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from wildsat_core import __version__
from wildsat_core.client import AsyncClient, Change, DatedTile, SearchAnswer, ServiceError, TileInfo
from wildsat_core.errors import MissingExtraError, WildsatError

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = """Searches satellite tiles of the Earth's habitats by words, by a tile, or by a species.
Describe what the place looks like or what lives there ("mangrove coast", "cloud forest on a steep ridge").
A hit is a tile: one square of a satellite picture. `percentile` is the share of all tiles that fit the query worse: the
number to tell people. A high rank means "looks like places described so". It does not mean that a species lives there.
Always pass on `notice` and `attribution`. Coordinates are longitude, latitude in degrees (WGS 84)."""

Tool = Callable[..., Awaitable[Any]]

Text = Annotated[str, Field(max_length=500)]
TileId = Annotated[str, Field(min_length=1, max_length=128)]
Limit = Annotated[int, Field(ge=1, le=100, description="how many hits")]
Pictures = Annotated[int, Field(ge=0, le=8, description="of how many of the best hits to see the picture")]
Box = Annotated[
    list[float],
    Field(min_length=4, max_length=4, description="west, south, east, north; west > east crosses 180 degrees"),
]
Countries = Annotated[list[str], Field(description="ISO 3166-1 alpha-3 codes, such as BRA")]
Day = Annotated[str, Field(description="YYYY-MM-DD")]
Months = Annotated[list[int], Field(description="months of the year, 1 to 12")]
Span = Annotated[str, Field(max_length=50, description="2019, 2019-06, 2019-06-15, or two of these with / between")]
Where = Annotated[str, Field(description="CQL2 on properties of tiles, such as: cloud_cover < 0.1 AND gsd_m <= 10")]


class Tools:
    """What agents can ask; each answer is text, and pictures where tiles have them.

    Args:
        service: asks the service.
        picture: WebP as the server sends pictures.
    """

    def __init__(self, service: AsyncClient, picture: Callable[[bytes], Any]) -> None:
        """Only remember."""
        self._service, self._picture = service, picture

    async def _told(self, answer: SearchAnswer, pictures: int) -> list[Any]:
        """The answer as text, then the pictures of the best hits that have one."""
        hits = [_hit(hit, {"rank": hit.rank, "percentile": hit.percentile}) for hit in answer.hits]
        said = {
            "collection": answer.collection,
            "matched": answer.matched,
            "of": answer.total,
            "no_match": answer.no_match,
            "notice": answer.notice,
            "attribution": answer.attribution,
            "hits": hits,
        }
        content: list[Any] = [_json(said)]
        for hit in answer.hits[:pictures]:
            content += await self._pictured(hit.tile_id, answer.collection, f"rank {hit.rank}")
        return content

    async def _pictured(self, tile_id: str, collection: str | None, which: str) -> list[Any]:
        """The picture of a tile with a line that says which it is; nothing where it has none."""
        try:
            picture = await self._service.thumbnail(tile_id, collection)
        except ServiceError as err:
            if err.status != 404:
                raise
            return []
        return [f"Picture of {tile_id}, {which}:", self._picture(picture)]

    async def search(
        self,
        query: Annotated[str, Field(min_length=1, max_length=500, description="the habitat, in English words")],
        unlike: Text | None = None,
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 3,
        bbox: Box | None = None,
        countries: Countries | None = None,
        first_day: Day | None = None,
        last_day: Day | None = None,
        months: Months | None = None,
        where: Where | None = None,
    ) -> list[Any]:
        """Rank satellite tiles by how well they fit a description of a habitat, and see the best."""
        filters = _given(bbox=bbox, countries=countries, months=months, from_=first_day, to=last_day, filter=where)
        return await self._told(
            await self._service.search(query, k=limit, **_given(not_=unlike, collection=collection), **filters),
            pictures,
        )

    async def search_species(
        self,
        species: Annotated[str, Field(min_length=1, max_length=100, description="common or scientific name")],
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 3,
        bbox: Box | None = None,
        countries: Countries | None = None,
    ) -> list[Any]:
        """Rank tiles by how well they fit the habitat of a species. It does not tell where the species lives."""
        filters = _given(collection=collection, bbox=bbox, countries=countries)
        return await self._told(await self._service.search(species=species, k=limit, **filters), pictures)

    async def more_like_this(
        self,
        tile_id: TileId,
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 3,
        bbox: Box | None = None,
        countries: Countries | None = None,
    ) -> list[Any]:
        """Rank other tiles by how much they look like one that a search found."""
        filters = _given(collection=collection, bbox=bbox, countries=countries)
        return await self._told(await self._service.similar(tile_id, k=limit, **filters), pictures)

    async def what_changed(
        self,
        query: Annotated[str, Field(min_length=1, max_length=500, description="the habitat that is lost or gained")],
        before: Span | None = None,
        after: Span | None = None,
        direction: Annotated[str, Field(pattern="^(any|gain|loss)$", description="any, gain or loss")] = "any",
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 2,
        bbox: Box | None = None,
        countries: Countries | None = None,
        months: Months | None = None,
    ) -> list[Any]:
        """Rank places that were pictured on two days by how much better or worse they fit a description since.

        Seasons differ more than years do: give months, so that like is compared with like.
        """
        given = _given(before=before, after=after, collection=collection, bbox=bbox, countries=countries, months=months)
        answer = await self._service.changes(query, direction=direction, k=limit, **given)
        places = [
            {"rank": one.rank, "difference": one.difference}
            | {name: _hit(tile, {"percentile": tile.percentile}) for name, tile in _days(one)}
            for one in answer.changes
        ]
        said = {
            "collection": answer.collection,
            "places": answer.matched,
            "no_match": answer.no_match,
            "notice": answer.notice,
            "attribution": answer.attribution,
            "changes": places,
        }
        shown = [(one.rank, name, tile) for one in answer.changes[:pictures] for name, tile in _days(one)]
        content: list[Any] = [_json(said)]
        for rank, name, tile in shown:
            content += await self._pictured(tile.tile_id, answer.collection, f"{name}, rank {rank}")
        return content

    async def habitats_of_tile(
        self,
        tile_id: TileId,
        collection: str | None = None,
        limit: Annotated[int, Field(ge=1, le=50, description="how many phrases")] = 5,
    ) -> list[Any]:
        """Say what a tile shows: the habitat phrases that fit it best, where it lies, and its picture."""
        tile = await self._service.tile(tile_id, collection)
        phrases = await self._service.habitats(tile_id, limit, collection)
        said = _hit(tile, {}) | {"habitats": [{"phrase": h.phrase, "standard_deviations": h.score} for h in phrases]}
        try:
            return [_json(said), self._picture(await self._service.thumbnail(tile_id, collection))]
        except ServiceError as err:
            if err.status != 404:
                raise
            return [_json(said)]

    async def species(
        self,
        name: Annotated[str, Field(max_length=100, description="beginnings of words of a name; empty: all")] = "",
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> str:
        """List the species that search_species understands, each with its habitat."""
        found = await self._service.species(name, limit)
        return _json(
            [{"common_name": s.common_name, "scientific_name": s.scientific_name, "habitat": s.habitat} for s in found]
        )

    async def collections(self) -> str:
        """List what can be searched: each collection's name, extent, number of tiles and what must be said of it."""
        return _json(
            [
                {
                    "name": one.name,
                    "title": one.title,
                    "description": one.description,
                    "tiles": one.tiles,
                    "bbox": one.bbox,
                    "notice": one.notice,
                    "attribution": one.attribution,
                }
                for one in await self._service.collections()
            ]
        )


TITLES = {
    Tools.search: "Search for a habitat",
    Tools.search_species: "Search by a species",
    Tools.more_like_this: "More like this tile",
    Tools.what_changed: "What changed",
    Tools.habitats_of_tile: "Habitats of a tile",
    Tools.species: "Find species by name",
    Tools.collections: "Collections",
}


def agents_server(service: AsyncClient) -> MCPServer:
    """The server, with its tools; run it over standard input and output or over HTTP.

    Args:
        service: asks the service; the caller closes it.

    Raises:
        MissingExtraError: the package mcp is not installed.
    """
    try:
        from mcp.server.mcpserver import Image
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations

        from app.strict_agents import StrictServer
    except ImportError as err:
        raise MissingExtraError("mcp", "mcp", "`wildsat mcp`") from err

    def answered(tool: Tool) -> Tool:
        """What the service refuses is told to the model, which may then ask better."""

        @functools.wraps(tool)
        async def answer(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - whatever the tool takes
            try:
                return await tool(*args, **given)
            except WildsatError as err:
                raise ToolError(str(err)) from err

        return answer

    server = StrictServer("wildsat", title="WildSAT", instructions=INSTRUCTIONS, version=__version__)
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    tools = Tools(service, lambda data: Image(data=data, format="webp"))
    for tool, title in TITLES.items():
        bound = getattr(tools, tool.__name__)
        server.tool(title=title, annotations=reads, structured_output=False)(answered(bound))
    return server


def _given(**parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as the client takes them
    """What was given: models write null, "" and [] alike for what they leave out."""
    return {name: value for name, value in parameters.items() if value not in (None, "", [])}


def _days(change: Change) -> tuple[tuple[str, DatedTile], tuple[str, DatedTile]]:
    return ("before", change.before), ("after", change.after)


def _hit(tile: TileInfo, ranking: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tile_id": tile.tile_id,
        **ranking,
        "lon": tile.lon,
        "lat": tile.lat,
        "bbox": tile.bbox,
        "country": tile.country_name,
        "captured_on": tile.captured_on.isoformat() if tile.captured_on else None,
        "gsd_m": tile.gsd_m,
    }


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
