"""The MCP server, asked by the SDK's own client: in this process, over standard input and output, over HTTP."""

import asyncio
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters, stdio_client

from app.agents import agents_server
from app.main import create_app
from tests.app.conftest import ToyModel, running, toy_settings, write_rows
from tests.app.test_changes import ROWS as VISITS
from tests.app.test_swap import wait_for
from wildsat_core.client import AsyncClient

TOOLS = {
    "search", "search_species", "more_like_this", "what_changed", "habitats_of_tile", "species", "collections",
}  # fmt: skip


def ask(url: str, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with AsyncClient(url) as service, Client(agents_server(service)) as client:
            return await work(client)

    return asyncio.run(run())


def call(url: str, tool: str, **arguments: object) -> Any:
    return ask(url, lambda client: client.call_tool(tool, arguments))


def read(result: Any) -> Any:
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_every_tool_says_what_it_is_for(live_url: str) -> None:
    listed = ask(live_url, lambda client: client.list_tools())
    assert {tool.name for tool in listed.tools} == TOOLS
    for tool in listed.tools:
        assert tool.description
        assert tool.annotations.read_only_hint


def test_a_search_shows_hits_and_the_pictures_of_the_best(live_url: str) -> None:
    result = call(live_url, "search", query="desert", limit=6, pictures=6)
    told = read(result)
    assert told["hits"][0]["tile_id"] == "sahara"
    assert (told["notice"], told["attribution"], told["no_match"]) == ("Six made-up tiles.", "Nobody", False)
    assert "score" not in told["hits"][0], "no number that people may take for a probability"
    pictures = [part for part in result.content if part.type == "image"]
    assert len(pictures) == 5, "one tile has none"
    assert pictures[0].mime_type == "image/webp"
    import base64

    assert Image.open(io.BytesIO(base64.b64decode(pictures[0].data))).size == (8, 8)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"countries": ["BRA"]}, {"amazon"}),
        ({"bbox": [170, -30, -170, 0]}, {"fiji"}),
        ({"first_day": "2024-08-01"}, {"congo"}),
        ({"months": [7]}, {"amazon", "fiji"}),
        ({"where": "cloud_cover < 0.15"}, {"amazon", "sahara"}),
        ({"limit": 2}, None),
        ({"months": [7], "countries": [], "unlike": "", "bbox": None, "where": ""}, {"amazon", "fiji"}),
    ],
)
def test_a_search_is_narrowed(live_url: str, asked: dict, found: set | None) -> None:
    hits = read(call(live_url, "search", query="forest", pictures=0, **asked))["hits"]
    assert found is None or {hit["tile_id"] for hit in hits} == found
    assert len(hits) <= asked.get("limit", 10)


def test_the_other_tools_answer(live_url: str) -> None:
    like = read(call(live_url, "more_like_this", tile_id="sahara", pictures=0))
    assert "sahara" not in [hit["tile_id"] for hit in like["hits"]]
    habitats = call(live_url, "habitats_of_tile", tile_id="sahara", limit=3)
    assert len(read(habitats)["habitats"]) == 3
    assert [part.type for part in habitats.content] == ["text", "image"]
    assert [part.type for part in call(live_url, "habitats_of_tile", tile_id="arctic").content] == ["text"]
    assert read(call(live_url, "species", name="panthera onca"))[0]["common_name"] == "jaguar"
    assert read(call(live_url, "search_species", species="jaguar", limit=1, pictures=0))["hits"]
    assert read(call(live_url, "collections"))[0]["name"] == "demo"


def test_agents_see_what_changed(tmp_path: Path) -> None:
    write_rows(tmp_path, "demo", VISITS)
    with running(create_app(toy_settings(tmp_path), lambda name: ToyModel())) as url:
        result = call(url, "what_changed", query="forest", before="2019", direction="loss", countries=[], pictures=1)
    told = read(result)
    first = told["changes"][0]
    assert (first["before"]["tile_id"], first["after"]["tile_id"]) == ("felled-2019", "felled-2023")
    assert (first["before"]["captured_on"], told["places"]) == ("2019-07-01", 2)
    assert first["difference"] < 0
    assert [part.type for part in result.content] == ["text", "text", "image", "text", "image"]
    assert "before, rank 1" in result.content[1].text


@pytest.mark.parametrize(
    ("tool", "asked", "said"),
    [
        ("search", {"query": "forest", "bbox": [0, 0, 1, 100]}, "latitudes"),
        ("search", {"query": "forest", "where": "colour = 1"}, "no property 'colour'"),
        ("search", {"query": "forest", "limit": 1000}, "limit: Input should be less than or equal to 100, got 1000"),
        ("search", {"query": "forest", "country": ["BRA"]}, "no argument 'country'; it takes query, unlike"),
        ("what_changed", {"query": "forest", "before": "June"}, "a year, a month or a day"),
        ("what_changed", {"query": "forest", "direction": "up"}, "direction"),
        ("more_like_this", {"tile_id": "nobody"}, "no tile 'nobody'"),
        ("search_species", {"species": "jagaur"}, "jaguar"),
    ],
)
def test_what_is_refused_is_told_so_that_the_agent_can_ask_better(
    live_url: str, tool: str, asked: dict, said: str
) -> None:
    result = call(live_url, tool, **asked)
    assert result.is_error
    assert said in result.content[0].text
    assert "pydantic" not in result.content[0].text


def test_a_service_that_is_down_is_said_to_be(unused_tcp_port: int) -> None:
    async def run() -> Any:
        service = AsyncClient(f"http://127.0.0.1:{unused_tcp_port}", retries=0)
        async with service, Client(agents_server(service)) as client:
            return await client.call_tool("collections", {})

    result = asyncio.run(run())
    assert result.is_error
    assert "no answer from" in result.content[0].text


COMMAND = "from app.commands import mcp; import typer; typer.run(mcp)"


def test_an_agent_starts_it_over_standard_input_and_output(live_url: str) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-c", COMMAND, "--url", live_url], env=dict(os.environ)
    )

    async def run() -> Any:
        async with Client(stdio_client(server)) as client:
            return await client.call_tool("search", {"query": "desert", "limit": 1, "pictures": 1})

    result = asyncio.run(run())
    assert read(result)["hits"][0]["tile_id"] == "sahara"
    assert result.content[-1].type == "image"


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_serves_many_over_http(live_url: str, unused_tcp_port: int) -> None:
    arguments = [sys.executable, "-c", COMMAND, "--url", live_url, "--http", "--port", str(unused_tcp_port)]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{unused_tcp_port}/mcp"

    def listens() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", unused_tcp_port)) == 0

    async def run() -> list:
        async def one() -> Any:
            async with Client(address) as client:
                return await client.call_tool("search", {"query": "desert", "limit": 1, "pictures": 0})

        return await asyncio.gather(*(one() for _ in range(5)))

    try:
        wait_for(listens, 30)
        assert [read(result)["hits"][0]["tile_id"] for result in asyncio.run(run())] == ["sahara"] * 5
        strange = httpx.post(address, json={}, headers={"Host": "evil.example"})
        assert strange.status_code == 421, "a page elsewhere can't reach it by a name of its own"
    finally:
        process.terminate()
        process.wait(20)
