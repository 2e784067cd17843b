"""Tests of training/mini/recipe.py: what a work folder keeps is read again for what it was made of, and that alone."""

from dataclasses import replace

import numpy as np
import pytest

from training.earth.mosaics import Mosaic
from training.earth.squares import TileTable
from training.mini.bank import Bank
from training.mini.recipe import Material, MiniSettings, make_model, prepare_material
from training.mini.teacher import TeacherSettings


@pytest.fixture
def data(tmp_path):
    for part in ("species", "bluemarble"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "table").write_text("first")
    return tmp_path / "data"


@pytest.fixture
def made(monkeypatch, six_cells):
    """What is costly, made small; the names of what was made."""
    found = []
    bank = Bank(["land"], ["atom"], np.zeros(1, int), np.ones((1, 6), np.uint8))
    tiles = TileTable(six_cells.lon.astype(float), six_cells.lat.astype(float), np.full(6, 200.0))
    mosaic = Mosaic.from_picture("bmng", np.zeros((180, 360, 3), np.uint8), depth=1)

    def add(name):
        return lambda *_: found.append(name)

    class Builder:
        predicates = 1

        def __init__(self, *_):
            pass

        def build(self):
            return bank

    for name, small in {
        "load_cells": lambda _: six_cells,
        "land_tiles": lambda *_: tiles,
        "BankBuilder": Builder,
        "add_habitat_sentences": add("sentences"),
        "add_climate_sentences": add("climate"),
        "add_species_sentences": add("species"),
        "add_name_sentences": add("names"),
        "embed_sentences": lambda texts, _: np.ones((len(texts), 384), np.float32),
        "load_bmng": lambda: found.append("pictures") or mosaic,
        "load_z7": lambda _, cache: found.append(cache.name) or replace(mosaic, name="z7"),
        "tables_digest": lambda: "of today",
    }.items():
        monkeypatch.setattr(f"training.mini.recipe.{name}", small)
    return found


def test_material_is_made_once_for_its_tables_its_data_and_its_settings(data, made, tmp_path, monkeypatch):
    settings, work = MiniSettings(views_per_mosaic=1), tmp_path / "work"
    first = prepare_material(data, work, settings)
    assert prepare_material(data, work, settings).made_of == first.made_of
    assert (made.count("sentences"), made.count("pictures")) == (1, 1)
    prepare_material(data, work, replace(settings, views_per_mosaic=2))
    assert (made.count("sentences"), made.count("pictures")) == (1, 2)
    (data / "species" / "table").write_text("mended")
    (data / "bluemarble" / "table").write_text("another mosaic")
    others = prepare_material(data, work, settings)
    assert (made.count("sentences"), made.count("pictures")) == (2, 3)
    monkeypatch.setattr("training.mini.recipe.tables_digest", lambda: "of tomorrow")
    more = prepare_material(data, work, settings)
    assert (made.count("sentences"), made.count("pictures")) == (3, 3)
    assert len({first.made_of, others.made_of, more.made_of}) == 3
    assert len({name for name in made if name.startswith("z7")}) == 2, "one of each mosaic"


def test_views_that_were_not_written_whole_are_made_again(data, made, tmp_path, monkeypatch):
    settings, save = MiniSettings(views_per_mosaic=1), np.save

    def half_written(file, array):
        if array.ndim == 5:  # pictures
            return save(file, array)
        save(file, array[:1])
        raise OSError("full")

    prepare_material(data, tmp_path, replace(settings, vision=replace(settings.vision, steps=0)))
    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", half_written)
        with pytest.raises(OSError, match="full"):
            prepare_material(data, tmp_path, settings)
    assert len(prepare_material(data, tmp_path, settings).views.tables) == 2


class FolderError(Exception):
    """Carries the folder of the first part that would be trained."""


@pytest.fixture
def folder_of(tmp_path, monkeypatch):
    """The folder that a training's first part keeps its checkpoints in."""

    def stop(_material, _settings, _start, folder, _device):
        raise FolderError(folder)

    class Start:
        weights_sha256 = "a"

    monkeypatch.setattr("training.mini.recipe.make_places", stop)
    monkeypatch.setattr("training.mini.recipe._open_start", lambda _: Start)

    def folder(made_of="tables and data", weights="a", **settings):
        Start.weights_sha256 = weights
        with pytest.raises(FolderError) as told:
            make_model(Material(None, None, None, None, None, made_of), MiniSettings(**settings), tmp_path)
        return told.value.args[0]

    return folder


def test_a_part_goes_on_only_from_what_learned_the_same_words_and_pictures(folder_of):
    assert folder_of() == folder_of()
    assert folder_of(start="mine") == folder_of(start="mine")
    kept = {
        folder_of(),
        folder_of(made_of="other tables"),
        folder_of(teacher=TeacherSettings(steps=1)),
        folder_of(start="mine"),
        folder_of(start="mine", weights="b"),  # trained again under its name
    }
    assert len(kept) == 5
