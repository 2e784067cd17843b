"""Tests of `wildsat train s2`: what it refuses before hours of work, and what it hands on."""

import pytest
from typer.testing import CliRunner

from training.commands import train
from wildsat_core.errors import InvalidInputError, ModelNotFoundError
from wildsat_core.models.registry import find_model

TEXTS_ALONE = ("--vision-steps", 0, "--fine-steps", 0, "--wide-steps", 0, "--head-steps", 0)


@pytest.fixture
def train_s2(tmp_path, monkeypatch):
    """Types the command in and gives what the recipe was called with."""
    called = []
    monkeypatch.setattr("training.sentinel.recipe.make_model", lambda *args: called.append(args))
    for part in ("eurosat", "sentinel2"):
        (tmp_path / "data" / part).mkdir(parents=True)

    def typed(*arguments):
        order = ("s2", "--data", tmp_path / "data", "--out", tmp_path / "out", *arguments)
        result = CliRunner().invoke(train, [str(argument) for argument in order])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return called[-1]

    return typed


@pytest.mark.parametrize("start", ["wildsat-s2", find_model("wildsat-s2")], ids=["name", "directory"])
def test_a_start_is_a_model_by_name_or_by_its_directory(train_s2, start):
    *_, settings, out, _device, begun = train_s2("--start", start, *TEXTS_ALONE)
    assert begun == find_model("wildsat-s2")
    assert not settings.vision.trains
    assert out.name == "out"


def test_a_start_that_is_no_model_is_refused_by_name(train_s2):
    with pytest.raises(ModelNotFoundError, match="no model 'wildsat-s3' is installed"):
        train_s2("--start", "wildsat-s3", *TEXTS_ALONE)


def test_a_result_that_is_there_already_is_not_overwritten(train_s2, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="is there already; name another with --out"):
        train_s2()
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


@pytest.mark.parametrize("steps", [("--vision-steps", 0), ("--head-steps", 0)], ids=["encoder", "heads"])
def test_parts_without_steps_need_a_model_to_start_from(train_s2, steps):
    with pytest.raises(InvalidInputError, match="another"):
        train_s2(*steps)
