"""docs/architecture.md tells how a search runs with the numbers that the code has."""

from pathlib import Path

from wildsat_core.search import distribution, filters, scorer

TEXT = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_stages_of_a_search_are_told_with_their_real_sizes():
    assert f"blocks of {filters._BLOCK_ROWS:,} rows" in TEXT
    assert f"up to {scorer.EXACT_SCAN_ROWS:,} tiles float32 copies" in TEXT
    assert f"Beyond {distribution.ALL_SORTED:,} tiles" in TEXT
