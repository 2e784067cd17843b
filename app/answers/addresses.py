"""Absolute addresses in answers of OGC API and STAC: the same service under two roots."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

STAC_ROOT = "/stac"  # where clients that append /search to the root find the item search


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are.

    Attributes:
        site: address of the service, without a slash at the end.
        below: of the root that the client came by: "" or STAC_ROOT.
    """

    site: str
    below: str = ""

    @property
    def root(self) -> str:
        """The landing page that the client came by."""
        return f"{self.site}{self.below or '/'}"

    @property
    def collections(self) -> str:
        return f"{self.site}{self.below}/collections"

    @property
    def search(self) -> str:
        return f"{self.site}{STAC_ROOT}/search"

    def collection(self, name: str) -> str:
        return f"{self.collections}/{quote(name)}"

    def item(self, name: str, tile_id: str) -> str:
        return f"{self.collection(name)}/items/{quote(tile_id, safe='')}"

    def picture(self, name: str, generation: int, tile_id: str) -> str:
        return (
            f"{self.site}/tiles/{quote(tile_id, safe='')}/thumbnail.webp"
            f"?collection={quote(name)}&generation={generation}"
        )
