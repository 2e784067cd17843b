"""An MCP server (https://modelcontextprotocol.io): language-model agents search as people do, through the REST API.

It holds no collection and no model: each tool asks a running service by the Python client. So it starts in a moment,
and an agent gets no more than any other client.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from wildsat_core import __version__
from wildsat_core.client import AsyncClient, SearchAnswer, ServiceError, TileInfo
from wildsat_core.errors import MissingExtraError, WildsatError

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = """Searches satellite tiles of the Earth's habitats by words, by a tile, or by a species.
Describe what the place looks like or what lives there ("mangrove coast", "cloud forest on a steep ridge").
A hit is a tile: one square of a satellite picture. `percentile` is the share of all tiles that fit the query worse: the
number to tell people. A high rank means "looks like places described so". It does not mean that a species lives there.
Always pass on `notice` and `attribution`. Coordinates are longitude, latitude in degrees (WGS 84)."""

Tool = TypeVar("Tool", bound=Callable[..., Awaitable[Any]])

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
Where = Annotated[str, Field(description="CQL2 on properties of tiles, such as: cloud_cover < 0.1 AND gsd_m <= 10")]


def agents_server(service: AsyncClient) -> MCPServer:
    """The server, with its tools; run it over standard input and output or over HTTP.

    Args:
        service: asks the service; the caller closes it.

    Raises:
        MissingExtraError: the package mcp is not installed.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver import Image
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError as err:
        raise MissingExtraError("mcp", "mcp", "`wildsat mcp`") from err

    server: MCPServer = MCPServer("wildsat", title="WildSAT", instructions=INSTRUCTIONS, version=__version__)
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

    def tool(title: str) -> Callable[[Tool], Tool]:
        """Register a tool; what the service refuses is told to the model, which may then ask better."""

        def register(function: Tool) -> Tool:
            @functools.wraps(function)
            async def answered(*args: Any, **given: Any) -> Any:  # noqa: ANN401 - whatever the tool takes
                try:
                    return await function(*args, **given)
                except WildsatError as err:
                    raise ToolError(str(err)) from err

            server.tool(title=title, annotations=reads, structured_output=False)(answered)
            return function

        return register

    async def told(answer: SearchAnswer, pictures: int) -> list[Any]:
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
            try:
                picture = await service.thumbnail(hit.tile_id, answer.collection)
            except ServiceError as err:
                if err.status != 404:
                    raise
                continue  # it has none
            content += [f"Picture of {hit.tile_id}, rank {hit.rank}:", Image(data=picture, format="webp")]
        return content

    @tool("Search for a habitat")
    async def search(
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
        return await told(
            await service.search(query, k=limit, **_given(not_=unlike, collection=collection), **filters), pictures
        )

    @tool("Search by a species")
    async def search_species(
        species: Annotated[str, Field(min_length=1, max_length=100, description="common or scientific name")],
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 3,
        bbox: Box | None = None,
        countries: Countries | None = None,
    ) -> list[Any]:
        """Rank tiles by how well they fit the habitat of a species. It does not tell where the species lives."""
        filters = _given(collection=collection, bbox=bbox, countries=countries)
        return await told(await service.search(species=species, k=limit, **filters), pictures)

    @tool("More like this tile")
    async def more_like_this(
        tile_id: TileId,
        collection: str | None = None,
        limit: Limit = 10,
        pictures: Pictures = 3,
        bbox: Box | None = None,
        countries: Countries | None = None,
    ) -> list[Any]:
        """Rank other tiles by how much they look like one that a search found."""
        filters = _given(collection=collection, bbox=bbox, countries=countries)
        return await told(await service.similar(tile_id, k=limit, **filters), pictures)

    @tool("Habitats of a tile")
    async def habitats_of_tile(
        tile_id: TileId,
        collection: str | None = None,
        limit: Annotated[int, Field(ge=1, le=50, description="how many phrases")] = 5,
    ) -> list[Any]:
        """Say what a tile shows: the habitat phrases that fit it best, where it lies, and its picture."""
        tile = await service.tile(tile_id, collection)
        phrases = await service.habitats(tile_id, limit, collection)
        said = _hit(tile, {}) | {"habitats": [{"phrase": h.phrase, "standard_deviations": h.score} for h in phrases]}
        try:
            return [_json(said), Image(data=await service.thumbnail(tile_id, collection), format="webp")]
        except ServiceError as err:
            if err.status != 404:
                raise
            return [_json(said)]

    @tool("Find species by name")
    async def species(
        name: Annotated[str, Field(max_length=100, description="beginnings of words of a name; empty: all")] = "",
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> str:
        """List the species that search_species understands, each with its habitat."""
        found = await service.species(name, limit)
        return _json(
            [{"common_name": s.common_name, "scientific_name": s.scientific_name, "habitat": s.habitat} for s in found]
        )

    @tool("Collections")
    async def collections() -> str:
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
                for one in await service.collections()
            ]
        )

    return server


def _given(**parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as the client takes them
    return {name: value for name, value in parameters.items() if value is not None}


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
