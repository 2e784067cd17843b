"""What a build leaves out: counted by reason, and the first few of each named."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from indexer.sources.protocol import LeftOut
from wildsat_core.addresses import without_secrets
from wildsat_core.errors import SourceError

logger = logging.getLogger(__name__)

# Where most of what was given is bad, it is sooner the command that is wrong than the imagery. Of a handful of pictures
# a share says little.
MAX_BAD: Final = 0.5
FEW_BAD: Final = 3
NAMED: Final = 5  # of each reason are kept by name
LOGGED: Final = 100  # of each reason are logged, by each process; a million lines would hide what else there is

# Reasons that are faults of what was given, which --max-bad limits. The others are what a build was asked to leave out
# (sea, other areas, missing data) or what harms nobody (known already).
FAULTS: Final = frozenset({
    "bad row", "no place", "not a picture", "not eight-bit", "off the map", "scene not understood",
    "offset in doubt", "unreadable",
})  # fmt: skip


class LeftOutCounter(Counter[str]):
    """How many were left out, by reason; `names` has the first few of each."""

    def __init__(self, counts: Mapping[str, int] | None = None, names: Mapping[str, list[str]] | None = None) -> None:
        """Start from these."""
        super().__init__(counts or {})
        self.names: dict[str, list[str]] = dict(names or {})

    def __reduce__(self) -> tuple[type[LeftOutCounter], tuple[dict[str, int], dict[str, list[str]]]]:
        """For the way from a worker process: a counter alone would forget the names."""
        return LeftOutCounter, (dict(self), self.names)

    def note(self, fault: LeftOut) -> None:
        """Count one and name it in the log."""
        self[fault.reason] += 1
        told = without_secrets(fault.what)
        if self[fault.reason] <= LOGGED:
            logger.warning("left out: %s", told)
        self._name(fault.reason, [told])

    def add(self, others: Mapping[str, int]) -> None:
        """Count those of another counter, too."""
        self.update(others)
        for reason, names in getattr(others, "names", {}).items():
            self._name(reason, names)

    def _name(self, reason: str, names: list[str]) -> None:
        known = self.names.setdefault(reason, [])
        known += names[: NAMED - len(known)]

    @property
    def faults(self) -> int:
        """How many are faults of what was given."""
        return sum(n for reason, n in self.items() if reason in FAULTS)

    def text(self) -> str:
        """In a line: numbers by reason, and one of each fault by name."""
        told = (self._with_name(reason, n) for reason, n in sorted(self.items()) if n)
        return ", ".join(told) or "none"

    def _with_name(self, reason: str, count: int) -> str:
        names = self.names.get(reason)
        return f"{count:,} {reason}" + (f" ({names[0]})" if names else "")

    def as_dict(self) -> dict[str, Any]:
        """Numbers by reason."""
        return {reason: n for reason, n in sorted(self.items()) if n}


def check_faults(left_out: LeftOutCounter, good: int, max_bad: float | None) -> None:
    """Refuse to go on where too much of what was given is bad.

    Args:
        left_out: what was left out so far.
        good: how many were not.
        max_bad: largest share of faults in all that was looked at; None for MAX_BAD, or FEW_BAD if that is more.

    Raises:
        SourceError: saying how many of how many, and naming some.
    """
    seen = good + sum(left_out.values())
    share = MAX_BAD if max_bad is None else max_bad
    if left_out.faults <= max(share * seen, FEW_BAD if max_bad is None else 0):
        return
    some = [f"{reason}: {name}" for reason, names in left_out.names.items() if reason in FAULTS for name in names]
    raise SourceError(
        f"{left_out.faults:,} of {seen:,} can't be indexed, more than --max-bad {share:g} allows; nothing was "
        f"published. Mend them and give --restart, or allow more. Some of them:\n  " + "\n  ".join(some[: 2 * NAMED])
    )
