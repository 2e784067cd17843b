"""A Python client of the REST API: `from wildsat_core.client import Client`."""

from wildsat_core.client.answers import (
    Change,
    ChangesAnswer,
    CollectionInfo,
    DatedTile,
    Habitat,
    Hit,
    SearchAnswer,
    SpeciesInfo,
    TermShare,
    TileInfo,
)
from wildsat_core.client.http import AsyncClient, Client, ServiceError, ServiceUnreachableError

__all__ = [
    "AsyncClient",
    "Change",
    "ChangesAnswer",
    "Client",
    "CollectionInfo",
    "DatedTile",
    "Habitat",
    "Hit",
    "SearchAnswer",
    "ServiceError",
    "ServiceUnreachableError",
    "SpeciesInfo",
    "TermShare",
    "TileInfo",
]
