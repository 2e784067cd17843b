"""What each kind of imagery takes on the command line, and how its help tells."""

import dataclasses
import re
import typing

import pytest
import typer
from typer.testing import CliRunner

from indexer.commands.begin import ORDERS
from indexer.commands.build import Build
from indexer.commands.by_source import join, kind_first
from indexer.commands.index import index
from indexer.commands.sources import PICTURES
from wildsat_core.errors import InvalidInputError, ModelNotFoundError
from wildsat_core.models.config import read_config, write_config
from wildsat_core.models.registry import MODELS, PRETRAINED

COMMANDS = {"build": ORDERS, "add": ORDERS, "cut": PICTURES}
KINDS = ["raster", "sentinel2"]
SCREEN = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def said(*arguments):
    answer = CliRunner().invoke(index, arguments, env=SCREEN)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        (["raster", "alps", "-i", "x"], ["raster", "alps", "-i", "x"]),
        (["sentinel2", "--help"], ["sentinel2", "--help"]),
        (["alps", "-i", "x"], ["raster", "alps", "-i", "x"]),
        (["-i", "x", "alps"], ["raster", "-i", "x", "alps"]),
        (["alps"], ["raster", "alps"]),
        (["alps", "--source", "sentinel2", "--pick", "all"], ["sentinel2", "alps", "--pick", "all"]),
        (["--source=sentinel2", "alps"], ["sentinel2", "alps"]),
        (["raster", "--source", "sentinel2"], ["sentinel2", "raster"]),  # a collection of that name
    ],
)
def test_the_kind_comes_first_or_by_its_option_or_is_a_raster(typed, understood):
    assert kind_first(typed, KINDS) == understood


@pytest.mark.parametrize(
    ("typed", "kind"),
    [(["rastr", "alps"], "rastr"), (["alps", "--source", "rastr"], "rastr"), (["alps", "--source"], "")],
)
def test_an_unknown_kind_is_named_with_those_that_there_are(typed, kind):
    with pytest.raises(InvalidInputError, match=f"unknown source '{kind}'; there are raster, sentinel2"):
        kind_first(typed, KINDS)


def test_the_help_of_a_command_lists_the_kinds():
    for command, kinds in COMMANDS.items():
        printed = said(command, "--help")
        assert re.findall(r"^│ (\w+)  ", printed, re.MULTILINE) == list(kinds)
        assert len(printed.splitlines()) <= 45


@pytest.mark.parametrize(
    ("command", "kind"), [(command, kind) for command, kinds in COMMANDS.items() for kind in kinds]
)
def test_the_help_of_a_kind_fits_two_screens_and_shows_units_and_defaults(command, kind):
    printed = said(command, kind, "--help")
    assert len(printed.splitlines()) <= 80
    assert ("{NAME}" in printed.splitlines()[0]) == (command != "cut")
    assert "For example: --" in printed
    bare = re.findall(r"(--[\w-]+) +(?:-\w )? *<(?:float|int|str)[ >]", printed)
    assert not bare, f"{bare} show no unit"


@pytest.mark.parametrize(
    "command", ["ann", "compact", "delete", "export", "gc", "import", "info", "stats", "upgrade", "verify"]
)
def test_numbers_of_the_other_commands_have_units_too(command):
    assert not re.findall(r"(--[\w-]+) +<(?:float|int)[ >]", said(command, "--help"))


@pytest.mark.parametrize("kind", PICTURES)
def test_build_and_cut_take_the_same_of_a_kind(kind):
    fields = {field.name for field in dataclasses.fields(PICTURES[kind])}
    for command in ("build", "add", "cut"):
        printed = said(command, kind, "--help")
        assert not [name for name in fields if f"--{option_of(PICTURES[kind], name)} " not in printed]


def option_of(kind, name):
    _, option = typing.get_args(typing.get_type_hints(kind, include_extras=True)[name])
    named = option.default if isinstance(option.default, str) else ""  # where typer keeps the first name
    return (named or name.replace("_", "-")).removeprefix("--")


def test_an_order_is_what_was_typed():
    typed = []
    app = typer.Typer(result_callback=typed.append)
    app.command("raster")(join(Build, PICTURES["raster"]))
    app.command("other")(lambda: None)
    arguments = ["raster", "alps", "-i", "alps.tif", "--tile-km", "2.5", "--no-compile", "--bbox", "170,-20,-170,-10"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (order,) = typed
    assert (order.name, order.input, order.tile_km, order.compiled) == ("alps", "alps.tif", 2.5, False)
    assert (order.box.west, order.box.east) == (170, -170)
    assert (order.max_missing, order.bands, order.replace) == (0.3, "red,green,blue", False)


def order_for(kind, **options):
    return join(Build, PICTURES[kind])(name="c", input="x.tif", **options)


@pytest.fixture
def published(tmp_path):
    """A model whose training pictures showed 2.5 to 4.9 km, by its config alone."""
    config = read_config(PRETRAINED / "wildsat-mini")
    write_config(config.model_copy(update={"name": "row", "side_km": MODELS["swint-satlas"].trained_side_km}), tmp_path)
    return str(tmp_path)


def test_tiles_have_the_side_that_the_model_was_trained_on_where_nobody_says(published, tmp_path):
    assert order_for("raster", model=published).sized().tile_km == 4.9
    assert order_for("sentinel2", model=published).sized().tile_km == 4.9
    assert order_for("raster", model=published, tile_px=256).sized().tile_km is None, "along the raster's pixels"
    assert order_for("sentinel2", model=published, tile_px=256).sized().tile_km == 4.9, "pixels of the picture"
    folder = order_for("folder", model=published)
    assert folder.sized() is folder, "nothing is cut"
    for model in (None, "auto", "wildsat-s2"):
        order = order_for("sentinel2", model=model, collections=tmp_path / "none").sized()
        assert order.tile_km is None, "2.56 as ever"
    with pytest.raises(ModelNotFoundError):
        order_for("raster", model="nothing").sized()


@pytest.mark.parametrize(
    ("tile_km", "told"), [(4.9, False), (2.56, False), (2.1, False), (6, False), (1.28, True), (10, True)]
)
def test_tiles_of_another_side_than_the_models_are_warned_of(published, caplog, tile_km, told):
    assert order_for("raster", model=published, tile_km=tile_km).sized().tile_km == tile_km
    words = f"tiles are {tile_km:g} km wide, and the pictures that the model was trained on showed 2.5 to 4.9 km"
    assert (words in caplog.text) == told
