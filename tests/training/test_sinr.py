"""The location encoder's loss against NumPy, and that it learns where species are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
import torch
from PIL import Image
from typer.testing import CliRunner

from training.assembly import read_location
from training.commands import train as train_command
from training.data.observations import Observation
from training.range_map import draw_range_map, draw_range_maps, range_grid
from training.sinr import SinrConfig, an_full_loss, load_sinr, random_places, train_sinr_encoder
from wildsat_core.countries import Countries, Country
from wildsat_core.errors import InvalidInputError, MissingDataError, ModelNotFoundError
from wildsat_core.location.bioclim import ENVIRONMENT_VARIABLE


def numpy_an_full(seen: np.ndarray, random: np.ndarray, species: np.ndarray, weight: float) -> float:
    """The published formula, place by place and species by species."""
    total = 0.0
    for i in range(len(seen)):
        for s in range(seen.shape[1]):
            here, there = 1 / (1 + np.exp(-seen[i, s])), 1 / (1 + np.exp(-random[i, s]))
            total -= weight * np.log(here) if species[i] == s else np.log(1 - here)
            total -= np.log(1 - there)
    return total / seen.size


def test_loss_equals_the_published_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    seen, random = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    species = torch.tensor([0, 2, 1, 2])
    found = float(an_full_loss(seen, random, species, 2048.0))
    expected = numpy_an_full(seen.double().numpy(), random.double().numpy(), species.numpy(), 2048.0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_loss_stays_finite_for_sure_answers() -> None:
    huge = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = an_full_loss(huge, -huge, torch.tensor([1]))
    loss.backward()
    assert torch.isfinite(loss)
    assert huge.grad is not None
    assert torch.isfinite(huge.grad).all()


def test_random_places_are_even_over_the_sphere() -> None:
    places = random_places(40_000, torch.Generator().manual_seed(0)).numpy()
    assert np.abs(places[:, 0]).max() <= 180
    assert np.abs(places[:, 1]).max() <= 90
    assert (np.abs(places[:, 1]) > 60).mean() == pytest.approx(1 - np.sin(np.radians(60)), abs=0.01)


def sightings() -> list[Observation]:
    """Two species, one around the Amazon and one around the Alps."""
    random = np.random.default_rng(0)
    places = [("Crax rubra", -60.0, -5.0), ("Lynx lynx", 10.0, 47.0)]
    return [
        Observation(name, float(lon + random.normal(0, 4)), float(lat + random.normal(0, 4)))
        for name, lon, lat in places
        for _ in range(200)
    ]


def test_species_of_nearly_one_name_have_maps_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Rosa x alba", "Rosa (x) alba", "Rosa alba"]
    seen = [Observation(name, 0.0, 0.0) for name, count in zip(names, (2, 3, 1), strict=True) for _ in range(count)]
    monkeypatch.setattr("training.range_map.draw_range_map", lambda trained, name, path, sightings: path)
    maps = draw_range_maps(SimpleNamespace(species=names), seen, tmp_path, most=9)
    assert [path.name for path in maps] == ["01-rosa-x-alba.png", "02-rosa-x-alba.png", "03-rosa-alba.png"]


def test_it_learns_where_species_live_and_is_written_for_other_rooms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    source = tmp_path / "obs.csv"
    rows = [f"{o.species},{o.lon},{o.lat}" for o in sightings()]
    source.write_text("species,lon,lat\n" + "\n".join(rows) + "\n")
    out = tmp_path / "sinr"
    options = ["--width", "32", "--depth", "1", "--epochs", "40", "--batch", "50", "--lr", "0.005", "--maps", "1"]
    options += ["--device", "cpu"]  # another device draws other numbers, and so few sightings may then teach less
    result = CliRunner().invoke(train_command, ["sinr", "--observations", str(source), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert "400 sightings read" in result.output
    (picture,) = (out / "maps").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    trained = load_sinr(out)
    jungle, alps = torch.tensor([[-60.0, -5.0]]), torch.tensor([[10.0, 47.0]])
    scores = {name: i for i, name in enumerate(trained.species)}
    at_jungle = trained.encoder.species_scores(trained.encoder(jungle))[0]
    at_alps = trained.encoder.species_scores(trained.encoder(alps))[0]
    assert at_jungle[scores["Crax rubra"]] > 0.5 > at_jungle[scores["Lynx lynx"]]
    assert at_alps[scores["Lynx lynx"]] > 0.5 > at_alps[scores["Crax rubra"]]
    grid = range_grid(trained, "Lynx lynx", 10.0)
    assert grid.shape == (18, 36)
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    assert abs(90 - 10 * (row + 0.5) - 47) <= 25
    assert abs(-180 + 10 * (column + 0.5) - 10) <= 25

    kind, arguments, weights = read_location(out)
    assert kind == "sinr"
    assert arguments["species"] == 0
    assert not any(name.startswith("class_emb") for name in weights)
    picture = tmp_path / "one.png"
    result = CliRunner().invoke(train_command, ["range-map", str(out), "Lynx lynx", "--out", str(picture)])
    assert result.exit_code == 0, result.output
    assert picture.is_file()
    square = Countries([Country("XXX", "Square", shapely.box(20, -30, 60, 10))])
    drawn = []
    for countries in (Countries([]), square):
        monkeypatch.setattr("training.range_map.load_countries", lambda countries=countries: countries)
        drawn.append(np.asarray(Image.open(draw_range_map(trained, "Lynx lynx", picture))).astype(int))
    brighter = (drawn[1] - drawn[0]).sum(axis=2) > 100
    height, width = np.ptp(np.argwhere(brighter), axis=0)
    assert height == pytest.approx(width, rel=0.05), "the outline of a square"
    with pytest.raises(InvalidInputError, match="does not know 'Yeti'"):
        range_grid(trained, "Yeti")


def test_the_same_seed_gives_the_same_encoder(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    source = tmp_path / "obs.csv"
    source.write_text("x\n")
    config = SinrConfig(width=8, depth=1, epochs=2, batch=64)
    first, second = (
        train_sinr_encoder(sightings(), config, tmp_path / str(i), source=source, say=lambda _: None) for i in range(2)
    )
    for a, b in zip(first.encoder.parameters(), second.encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_encoder_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "seen.csv"
    source.write_text("species,lon,lat\n")
    train_sinr_encoder(sightings(), SinrConfig(epochs=1, width=4), tmp_path / "a", source=source, say=lambda _: None)
    before = (tmp_path / "a" / "species.json").read_bytes()
    with pytest.raises(InvalidInputError, match="is there already; name another with --out"):
        train_sinr_encoder(sightings(), SinrConfig(epochs=1, width=8), tmp_path / "a", source=source)
    assert (tmp_path / "a" / "species.json").read_bytes() == before


def test_unfit_sightings_and_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    source = tmp_path / "obs.csv"
    source.write_text("x\n")
    with pytest.raises(InvalidInputError, match="two species"):
        train_sinr_encoder(sightings()[:10], SinrConfig(), tmp_path / "a", source=source)
    with pytest.raises(InvalidInputError, match="0 of 2"):
        train_sinr_encoder(sightings(), SinrConfig(least_sightings=500), tmp_path / "a", source=source)
    with pytest.raises(InvalidInputError, match="sin_cos_env"):
        SinrConfig(inputs="moon")
    with pytest.raises(MissingDataError, match=ENVIRONMENT_VARIABLE):
        train_sinr_encoder(sightings(), SinrConfig(inputs="sin_cos_env", epochs=1), tmp_path / "a", source=source)
    with pytest.raises(ModelNotFoundError):
        load_sinr(tmp_path / "none")
