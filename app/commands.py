"""The commands `wildsat serve` and `wildsat mcp`."""

from __future__ import annotations

import logging.config
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildsat_core.errors import WildsatError

if TYPE_CHECKING:
    from app.settings import Settings

# Environment variables that a command-line option stands for; the settings are read from the environment.
_OPTIONS = {
    "collections": "WILDSAT_COLLECTIONS",
    "store": "WILDSAT_STORE",
    "default": "WILDSAT_DEFAULT_COLLECTION",
    "root_path": "WILDSAT_ROOT_PATH",
    "device": "WILDSAT_DEVICE",
    "workers": "WILDSAT_WORKERS",
    "engine": "WILDSAT_ENGINE",
    "ray_address": "WILDSAT_RAY_ADDRESS",
    "shards": "WILDSAT_SHARDS",
    "replicas": "WILDSAT_REPLICAS",
}


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    collections: Annotated[
        Path | None, typer.Option(help="Folder of the collections.", show_default="./collections")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Object storage that holds them, s3://…, gs://…, az://…, file://….", show_default="the folder"
        ),
    ] = None,
    default: Annotated[
        str | None, typer.Option(help="Collection searched when a request names none.", show_default="demo")
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path prefix under which a proxy publishes the service.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="torch device of the encoders and of the scan.", show_default="cpu")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that serve together.", show_default="1")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="local, or ray: search on a Ray cluster.", show_default="local")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option("--address", help="Address of the Ray cluster, host:port.", show_default="auto")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Parts that a collection is cut into.", show_default="1")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Actors that hold each part, with --engine ray.", show_default="1")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve every collection of a folder: the map page, the API and its documentation.

    Other settings are environment variables that begin with WILDSAT_; docs/running.md lists them.
    """
    from app.logs import log_config

    settings = _settings(
        collections=collections,
        store=store,
        default=default,
        root_path=root_path,
        device=device,
        workers=workers,
        engine=engine,
        ray_address=ray_address,
        shards=shards,
        replicas=replicas,
    )
    logs = log_config(log_level)
    logging.config.dictConfig(logs)
    options = _server_options(settings, host, port)
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    address = f"http://{shown}:{port}{settings.root_path}/"
    if settings.workers > 1:
        from app.workers import serve_together

        typer.echo(f"WildSAT is starting in {settings.workers} processes; the page will be at {address}")
        serve_together(settings.workers, "app.workers:worker_app", log_config=logs, **options)
    else:
        _serve_alone(settings, address, options)


def _settings(**given: Path | str | int | None) -> Settings:
    """What the environment says, and above it the options that were given."""
    from pydantic import ValidationError

    from app.settings import Settings

    os.environ.update({_OPTIONS[name]: str(value) for name, value in given.items() if value is not None})
    try:
        settings = Settings()
    except ValidationError as err:
        raise WildsatError(f"a setting is not valid: {err}") from err
    if settings.engine == "ray" and settings.workers > 1:
        raise WildsatError(
            "with --engine ray one process serves: each of several would start actors of its own; leave --workers out"
        )
    return settings


def _server_options(settings: Settings, host: str, port: int) -> dict[str, Any]:
    """What uvicorn is told, in one process or in several."""
    from app.connections import Room, affordable

    most = affordable(settings.share().max_connections)
    return {
        "http": Room(most).protocol,
        "ws": "none",
        "backlog": min(2048, most),
        "host": host,
        "port": port,
        "root_path": settings.root_path,
        "access_log": False,  # ours leaves out the query; see app/layers/headers.py
        "proxy_headers": False,  # forwarded addresses are read in app/layers/proxies.py, from configured proxies only
        "server_header": False,
        "timeout_graceful_shutdown": 10,
    }


def _serve_alone(settings: Settings, address: str, options: dict[str, Any]) -> None:
    import uvicorn

    from app.main import create_app

    app = create_app(settings)
    app.state.catalog.open_all()  # before the server, so that a refusal is one sentence and exit code 1
    typer.echo(f"WildSAT is starting; the page will be at {address}")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, **options))
    server.run()
    if not server.started:
        raise typer.Exit(1)


def mcp(
    url: Annotated[
        str, typer.Option(envvar="WILDSAT_URL", help="Address of a running service.")
    ] = "http://localhost:8000",
    api_key: Annotated[
        str | None, typer.Option(envvar="WILDSAT_API_KEY", help="Key, where the service wants one.")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Listen for clients at /mcp instead of standard input.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on with --http.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on with --http.")] = 8765,
) -> None:
    """Let language-model agents search: an MCP server in front of a running service.

    Over standard input and output an agent starts it itself; docs/clients.md has a configuration. With --http it serves
    many; it knows no keys of its own, so keep it on the loopback address or behind a proxy that asks for one.
    """
    import asyncio

    from app.agents import agents_server
    from wildsat_core.client import AsyncClient

    async def run() -> None:
        async with AsyncClient(url, api_key) as service:
            server = agents_server(service)
            if http:
                await server.run_streamable_http_async(host=host, port=port, stateless_http=True, json_response=True)
            else:
                await server.run_stdio_async()

    asyncio.run(run())
