"""How each route is treated: what its work costs, what body it takes, whether it needs a key, who may keep its answers.

One table by the name of the route; the layers, the errors and the routes themselves look here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Scope


class Cost(Enum):
    """How much work an answer takes."""

    PROBE = auto()  # asked every second by machines; never refused for load, logged only when debugging
    QUICK = auto()  # no more than a look-up
    SEARCH = auto()  # a scan of the collection: takes a place in the gate
    EXPORT = auto()  # works on while it is read: takes a place among the exports, too


class Body(Enum):
    """What a route takes besides its URL."""

    NONE = auto()
    JSON = auto()
    PICTURE = auto()


class Key(Enum):
    """Whose request is answered where keys are required, and who is charged for it where rates are limited."""

    OPEN = auto()  # everybody's, uncharged
    PAGE = auto()  # everybody's, as long as the URL asks for no ranking
    NEEDED = auto()


REVALIDATED = "no-cache"  # may be kept, is asked for again with its ETag
UNKEPT: Final = "no-store"
PICTURE_CACHE: Final = "public, max-age=3600"
FIXED_CACHE = "public, max-age=86400, immutable"  # of an address that names the generation


@dataclass(frozen=True, slots=True)
class Policy:
    """How one route is treated.

    Attributes:
        cost: what its work costs.
        body: what it takes besides its URL.
        key: whether it needs a key, where keys are required.
        cache: Cache-Control of its answers, where the answer itself does not say.
        tagged: whether answers have an ETag, so that a client that has one is told so by 304.
        malformed: status for a parameter that is refused; OGC API and STAC API want 400.
    """

    cost: Cost = Cost.QUICK
    body: Body = Body.NONE
    key: Key = Key.NEEDED
    cache: str = REVALIDATED
    tagged: bool = False
    malformed: int = 422


POLICIES: dict[str, Policy] = {
    "page": Policy(Cost.SEARCH, key=Key.PAGE),
    "static": Policy(key=Key.OPEN),
    "docs": Policy(key=Key.OPEN),
    "start_script": Policy(key=Key.OPEN),
    "openapi": Policy(key=Key.PAGE),
    "livez": Policy(Cost.PROBE, key=Key.OPEN, cache=UNKEPT),
    "readyz": Policy(Cost.PROBE, key=Key.OPEN, cache=UNKEPT),
    "metrics": Policy(Cost.PROBE, cache=UNKEPT),
    "search": Policy(Cost.SEARCH, tagged=True),
    "search_json": Policy(Cost.SEARCH, Body.JSON, cache=UNKEPT),
    "search_image": Policy(Cost.SEARCH, Body.PICTURE, cache=UNKEPT),
    "changes": Policy(Cost.SEARCH, tagged=True),
    "changes_json": Policy(Cost.SEARCH, Body.JSON, cache=UNKEPT),
    "suggest": Policy(Cost.SEARCH),
    "export": Policy(Cost.EXPORT, tagged=True),
    "species": Policy(),
    "places": Policy(),
    "tile": Policy(),
    "thumbnail": Policy(cache=PICTURE_CACHE, tagged=True),
    "similar": Policy(Cost.SEARCH, tagged=True),
    "habitats": Policy(Cost.SEARCH, tagged=True),
    "heatmap": Policy(Cost.SEARCH, tagged=True),
    "heatmap_tilejson": Policy(),
    "imagery_tilejson": Policy(malformed=400),
    "legend": Policy(),
    "imagery": Policy(cache=PICTURE_CACHE, tagged=True, malformed=400),
    **dict.fromkeys(
        (
            "stac_landing",
            "stac_landing_slash",
            "conformance",
            "stac_conformance",
            "stac_queryables",
            "collection_queryables",
            "collection_schema",
            "stac_collection_schema",
            "stac_collection_queryables",
            "collections",
            "stac_collections",
            "collection",
            "stac_collection",
            "item",
            "stac_item",
        ),
        Policy(malformed=400),
    ),
    **dict.fromkeys(("items", "stac_items"), Policy(Cost.SEARCH, malformed=400)),
    "stac_search": Policy(Cost.SEARCH, malformed=400),
    "stac_search_json": Policy(Cost.SEARCH, Body.JSON, malformed=400),
}
NOWHERE = Policy()  # for an address that has no route

PolicyOf = Callable[[Scope], Policy]


ANEW: Final = "wildsat.anew"  # set in a request's scope: its answer is worked out, or counted, each time anew


class Directory:
    """Finds the policy of a request before it is routed.

    Raises:
        KeyError: a route has no row in the table.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        """Sort the routes by how they are found: by their whole path, by a prefix, by a pattern."""
        self._whole: dict[str, dict[str, Policy]] = {}
        self._prefixes: list[tuple[str, Policy]] = []
        self._patterns: list[tuple[Route, Policy]] = []
        for route in routes:
            if isinstance(route, Mount):
                self._prefixes.append((f"{route.path}/", POLICIES[str(route.name)]))
            elif isinstance(route, Route) and route.param_convertors:
                self._patterns.append((route, POLICIES[route.name]))
            elif isinstance(route, Route):
                methods = dict.fromkeys(route.methods or (), POLICIES[route.name])
                self._whole.setdefault(route.path, {}).update(methods)

    def of(self, scope: Scope) -> Policy:
        """The policy of a request; remembered in its scope, since several layers ask."""
        policy: Policy | None = scope.get("wildsat.policy")
        if policy is None:
            policy = scope["wildsat.policy"] = self._find(path_below_root(scope), scope["method"])
        return policy

    def _find(self, path: str, method: str) -> Policy:
        if path in self._whole:  # of another method the address knows, if not of this one: that will be a 405
            methods = self._whole[path]
            return methods.get("GET" if method == "HEAD" else method) or next(iter(methods.values()))
        if prefixed := next((policy for prefix, policy in self._prefixes if path.startswith(prefix)), None):
            return prefixed
        return next((policy for route, policy in self._patterns if route.path_regex.match(path)), NOWHERE)


def path_below_root(scope: Scope) -> str:
    """The path below the service's root path."""
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))
