"""Tests of training/material.py: the folder of the small models' material."""

import pytest

from training.material import material_digest, material_folder
from wildsat_core.errors import InvalidInputError


def test_the_folder_given_comes_before_that_of_the_environment(tmp_path, monkeypatch):
    for folder in ("given", "named"):
        (tmp_path / folder / "eurosat").mkdir(parents=True)
    monkeypatch.setenv("WILDSAT_DATA", str(tmp_path / "named"))
    assert material_folder(tmp_path / "given", "eurosat") == tmp_path / "given"
    assert material_folder(None, "eurosat") == tmp_path / "named"


def test_a_folder_that_lacks_a_part_is_refused_by_that_part(tmp_path):
    (tmp_path / "eurosat").mkdir()
    with pytest.raises(InvalidInputError, match="has no sentinel2/; name it with --data") as refused:
        material_folder(tmp_path, "eurosat", "sentinel2")
    assert refused.value.parameter == "data"


def test_a_digest_changes_with_any_file_and_its_name_and_not_with_where_they_lie(tmp_path):
    def digest(name="a.zip", text="x", root="here"):
        (tmp_path / root / "eurosat" / "deep").mkdir(parents=True)
        (tmp_path / root / "other").mkdir()
        (tmp_path / root / "eurosat" / "deep" / name).write_text(text)
        (tmp_path / root / "other" / "file").write_text(root)
        return material_digest(tmp_path / root, "eurosat")

    kept = [digest(), digest(root="there"), digest(text="y", root="mended"), digest(name="b.zip", root="renamed")]
    assert kept[0] == kept[1]
    assert len(set(kept)) == 3
