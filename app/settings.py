"""Settings: environment variables with the prefix WILDSAT_, checked on creation; docs/running.md lists them."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.assets import STATIC_DIR

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Everything that an operator may set; the defaults serve ./collections on a small machine.

    Lists are written with commas: WILDSAT_CORS_ORIGINS=https://a.example,https://b.example
    """

    model_config = SettingsConfigDict(env_prefix="WILDSAT_", frozen=True, extra="ignore")

    collections: Path = Field(
        default=Path("collections"), description="folder whose sub-folders are the collections to serve"
    )
    store: str = Field(
        default="",
        description="address of the object storage that holds the collections, such as s3://bucket/prefix; empty: the "
        "folder",
    )
    store_interval_s: float = Field(
        default=10.0, ge=0.05, le=3600, description="how often to look for a new generation in the store, in seconds"
    )
    default_collection: str = Field(default="demo", description="collection searched when a request names none")
    species_table: Path | None = Field(
        default=None, description="CSV of common_name, scientific_name, habitat; empty: the one that comes along"
    )
    device: str = Field(
        default="cpu", description="torch device of the encoders and of the scan, such as cpu or cuda:0"
    )
    static_dir: Path = Field(default=STATIC_DIR, description="folder of the page's scripts, styles and vendor/ assets")
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path prefix under which a proxy publishes the service",
    )
    public_url: str = Field(
        default="",
        description="address put into STAC and OGC links, such as https://habitats.example; empty: the request's own",
    )
    ann_rows: int = Field(  # the engine's own default, which can't be imported without torch
        default=20_000_000, ge=0, description="tiles from which on a collection's approximate indexes are used"
    )
    engine: Literal["local", "ray"] = Field(
        default="local", description="where tiles are searched: in this process, or by actors on a Ray cluster"
    )
    ray_address: str = Field(default="auto", description="address of the Ray cluster; auto: the one of this machine")
    shards: int = Field(
        default=1, ge=1, le=10_000, description="parts that a collection is cut into; answers are alike"
    )
    replicas: int = Field(default=1, ge=1, le=100, description="actors that hold each part on a Ray cluster")
    swap_interval_s: float = Field(
        default=0.2, ge=0.05, le=60, description="how often to look for a new generation, in seconds"
    )

    workers: int = Field(
        default=1, ge=1, le=256, description="processes that serve together; limits below are of all of them"
    )
    # Beyond the processors searches only slow one another: on two, 32 clients got three times the answers from 3 at
    # once as from 16.
    max_running: int = Field(
        default_factory=lambda: (os.cpu_count() or 1) + 1, ge=1, le=1024, description="searches worked on at once"
    )
    threads: int = Field(
        default=1, ge=1, le=256, description="threads of one search's products and encodings; searches run side by side"
    )
    max_waiting: int = Field(
        default=64, ge=0, le=100_000, description="searches that may wait for a turn; more are answered 503 at once"
    )
    max_wait_s: float = Field(default=5.0, gt=0, le=300, description="longest wait for a turn in seconds, then 503")
    max_exports: int = Field(
        default=4, ge=1, le=1024, description="exports written at once; as many more may wait, the rest is answered 503"
    )
    max_requests: int = Field(
        default=256, ge=1, le=100_000, description="GET requests of any kind under way at once; more are answered 503"
    )
    max_connections: int = Field(
        default=2000,
        ge=10,
        le=100_000,
        description="connections held at once; beyond, the one that has asked nothing for the longest makes room",
    )
    max_body_bytes: int = Field(default=2 * 2**20, ge=1024, description="largest JSON body")
    max_upload_bytes: int = Field(default=16 * 2**20, ge=1024, description="largest uploaded picture, as sent")
    max_upload_pixels: int = Field(
        default=25_000_000, ge=4096, description="largest uploaded picture, decoded: width times height"
    )
    max_kept_bytes: int = Field(
        default=32 * 2**20, ge=0, description="answers kept in memory for who asks the same again; 0: none"
    )
    max_export_rows: int = Field(default=100_000, ge=1, le=1_000_000, description="rows that one export may hold")

    api_keys: CommaSeparated = Field(
        default=(), description="keys of known clients; each has a request budget of its own"
    )
    require_key: bool = Field(
        default=False,
        description="refuse searches and API requests without a known key (health and documentation stay open)",
    )
    rate_per_minute: float = Field(default=0.0, ge=0, description="requests a minute per key or address; 0: no limit")
    rate_burst: int = Field(default=60, ge=1, description="requests that may come at once before the rate applies")
    trusted_proxies: CommaSeparated = Field(
        default=(), description="addresses or networks whose X-Forwarded-For, -Proto and -Host are believed"
    )
    cors_origins: CommaSeparated = Field(
        default=(),
        description="web origins whose pages may call the API; * for every one, none for none; empty: where no key is "
        "required, every page may GET",
    )
    embed_origins: CommaSeparated = Field(
        default=(), description="web origins whose pages may show the map page in a frame; * for every one; empty: none"
    )
    metrics: bool = Field(default=True, description="publish /metrics")
    log_queries: bool = Field(default=False, description="write query strings into the access log")

    def share(self) -> Settings:
        """What each of the workers may take, so that all together keep to what is set."""
        limits = ("max_running", "max_waiting", "max_exports", "max_requests", "max_connections", "max_kept_bytes")
        return self.model_copy(update={name: -(-getattr(self, name) // self.workers) for name in limits})

    @property
    def named_origins(self) -> tuple[str, ...]:
        """Web origins that an operator has named."""
        return () if self.cors_origins == ("none",) else self.cors_origins

    @property
    def answers_other_pages(self) -> bool:
        """Whether pages of other origins may read answers and show pictures."""
        return bool(self.named_origins) or not (self.cors_origins or self.require_key)

    @field_validator("api_keys", "trusted_proxies", "cors_origins", "embed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _keys_are_long(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) < 16 for key in value):
            raise ValueError("every key of WILDSAT_API_KEYS must have at least 16 characters")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks_are_valid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network, strict=False)
        return value
