"""Tests of training/sentinel: pictures, texts, points, heads, and the whole recipe in small."""

import re
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.augment import Chance
from training.earth.chips import Chips, WorldChip
from training.earth.kinds import KINDS
from training.earth.stretches import linear
from training.embedded import embed_sentences
from training.evaluation.sentinel import CLASSES
from training.evaluation.sentinel import read_wordings as benchmark_wordings
from training.evaluation.sentinel import read_world_wordings as world_wordings
from training.sentinel.drawing import EvenDrawer
from training.sentinel.heads import HeadSettings, TileFeatures, train_heads
from training.sentinel.model import s2_config
from training.sentinel.points import KIND_COVERS, Points, draw_points, kept_points, load_points, save_points
from training.sentinel.recipe import SentinelSettings, Texts, make_model
from training.sentinel.scenes import ROUGH, WIDE, SceneMaker, SceneStyle, cut_squares
from training.sentinel.text_head import TextHeadSettings, fit_text_head
from training.sentinel.texts import Sentences, kind_sentences, read_lexicon, read_wordings
from training.sentinel.vision import Stage, VisionSettings, accuracy, train_vision
from wildsat_core.models.model import WildSATModel

FUNCTION_WORDS = {
    "a",
    "an",
    "the",
    "of",
    "and",
    "in",
    "on",
    "with",
    "to",
    "from",
    "for",
    "is",
    "are",
    "it",
    "its",
    "by",
}
FRAMED = ("where", "places", "nouns", "lies")  # lists that are said in frames of their own only
FOREST, SEA = KINDS.index("forest"), KINDS.index("sea or lake")


def plain(text):
    return " ".join(word for word in text.lower().replace(",", "").split() if word not in ("a", "an", "the"))


@pytest.fixture(scope="module")
def chips():
    """Dark green grain is forest, smooth blue is sea."""
    rng = np.random.default_rng(0)
    forest = np.clip(np.asarray([40, 80, 50]) + rng.normal(0, 18, (24, 64, 64, 1)), 0, 255)
    sea = np.clip(np.asarray([20, 40, 90]) + rng.normal(0, 1, (24, 64, 64, 1)), 0, 255)
    pixels = np.concatenate([forest, sea]).astype(np.uint8)
    return Chips(tuple(f"c{i}" for i in range(48)), pixels, np.repeat([FOREST, SEA], 24))


@pytest.fixture(scope="module")
def world():
    dunes = np.broadcast_to(np.float32([0.5, 0.35, 0.2]), (256, 256, 3))
    return [WorldChip("dunes", np.ascontiguousarray(dunes), KINDS.index("sand dunes"), 21.0, 28.0)]


def test_scenes_are_pairs_of_pictures_with_shares_that_sum_to_one(chips, world):
    batch = SceneMaker(chips, world).batch(32, 0)
    assert batch.first.shape == batch.second.shape
    assert batch.first.shape[:2] == (32, 3)
    assert 0 <= batch.first.min() <= batch.first.max() <= 255
    assert torch.allclose(batch.truth.sum(2), torch.ones(2, 32))
    assert not torch.equal(batch.first, batch.second)


def test_scenes_repeat_by_number_and_mix_kinds_and_places(chips, world):
    maker = SceneMaker(chips, world)
    assert torch.equal(maker.batch(8, 5).first, SceneMaker(chips, world).batch(8, 5).first)
    truth = torch.cat([maker.batch(32, i).truth.flatten(0, 1) for i in range(8)])
    assert (truth[:, KINDS.index("sand dunes")] == 1).any()
    assert ((truth > 0) & (truth < 1)).any()


@pytest.mark.parametrize("size", [20, 48, 90])
def test_squares_cut_at_once_are_those_cut_and_resized_one_by_one(size):
    rng = np.random.default_rng(size)
    pixels = torch.from_numpy(rng.random((6, 3, 64, 80), np.float32))
    side = np.asarray([1, 7, 20, 48, 63, 64])
    top, left = (rng.integers(length - side + 1) for length in (64, 80))
    found = cut_squares(pixels, *(torch.from_numpy(values) for values in (top, left, side)), size)
    for picture, row, column, length, square in zip(pixels, top, left, side, found, strict=True):
        cut = picture[None, :, row : row + length, column : column + length]
        expected = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        torch.testing.assert_close(square, expected[0], atol=1e-5, rtol=1e-5)


def test_a_mosaic_shows_its_chips_side_by_side_and_the_shares_of_their_kinds():
    """Chips of one colour each: what a picture shows says what its truth must be."""
    kinds = np.repeat([FOREST, SEA], 8)
    pixels = np.broadcast_to(np.where(kinds == SEA, 200, 50)[:, None, None, None], (16, 64, 64, 3)).astype(np.uint8)
    scenes, truth = SceneMaker(Chips(tuple(map(str, kinds)), pixels, kinds), [])._scenes(200, np.random.default_rng(0))
    shown = (scenes > scenes.mean()).float().mean((1, 2, 3))  # share of bright pixels
    torch.testing.assert_close(shown, torch.from_numpy(truth[:, SEA]))
    assert set(np.unique(truth[:, SEA])) >= {0.0, 0.25, 1.0}


def test_a_crop_of_a_chip_of_two_kinds_has_the_shares_of_what_it_shows(chips):
    """The second kind is bright: what a crop shows says what its truth must be."""
    there = np.zeros((256, 256), bool)
    there[:, 100:] = True
    reflectance = np.where(there, 0.9, 0.1)[..., None].repeat(3, 2).astype(np.float32)
    coast = WorldChip("coast", reflectance, FOREST, 0.0, 0.0, (SEA, there))
    maker = SceneMaker(chips, [coast], style=SceneStyle(sizes_px=(32,), world_share=1.0))
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.sentinel.scenes.chance_stretch", lambda pixels, *_: shown.append(pixels) or pixels)
        truth = maker.batch(40, 0).truth.flatten(0, 1)
    bright = (shown[0].mean((1, 2, 3)) - 0.1) / 0.8
    torch.testing.assert_close(truth[:, SEA], bright, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(truth[:, FOREST], 1 - bright, atol=1e-5, rtol=1e-4)
    assert {0.0, 1.0} < set(truth[:, SEA].round(decimals=4).tolist())


def test_light_is_uneven_on_land_and_even_on_water(chips):
    """Chips of one colour: whatever is not flat in the end was made so."""
    flat = Chips(chips.names, np.full_like(chips.pixels, 90), chips.kinds)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.sentinel.scenes.chance_stretch", lambda pixels, *_: found.append(pixels) or pixels)
        style = SceneStyle(chances=(1.0, 0.0, 0.0, 0.0), relief=0.4, blur_px=1.0)
        truth = SceneMaker(flat, [], style=style).batch(64, 0).truth.flatten(0, 1)
    uneven = found[0].std((1, 2, 3)) > 1e-4
    assert not uneven[truth[:, SEA] == 1].any()
    assert 0.4 < uneven[truth[:, FOREST] == 1].float().mean() < 0.9


def test_members_of_groups_are_drawn_evenly():
    drawn = EvenDrawer(np.asarray([2, 0, 2, 2, 0]), 3).draw(np.repeat([0, 2], 6000), np.random.default_rng(0))
    assert np.bincount(drawn[:6000], minlength=5).tolist() == pytest.approx([0, 3000, 0, 0, 3000], abs=150)
    assert np.bincount(drawn[6000:]).tolist() == pytest.approx([2000, 0, 2000, 2000], abs=150)


def test_every_kind_has_wordings_and_none_means_two_kinds():
    wordings, lexicon = read_wordings(), read_lexicon()
    assert set(wordings) == set(lexicon) == set(KINDS)
    phrases = [[text for name, texts in lists.items() if name not in FRAMED for text in texts]
               for lists in lexicon.values()]  # fmt: skip
    kinds_of = Counter(text for said in phrases for text in {plain(phrase) for phrase in said})
    assert [text for text, kinds in kinds_of.items() if kinds > 1] == []
    said = [plain(text) for texts in wordings.values() for text, _ in texts]
    assert len(said) == len(set(said))
    other = {plain(text): kind for kind, texts in wordings.items() for text, _ in texts}
    assert [text for kind, texts in zip(lexicon, phrases, strict=True) for text in texts
            if other.get(plain(text), kind) != kind] == []  # fmt: skip
    assert min(len(wordings[kind]) for kind in CLASSES) >= 110


def test_phrases_are_whole_and_every_list_is_one_that_is_said():
    lists = {name for found in read_lexicon().values() for name in found}
    assert lists == {"names", "animals", "plants", "things", "looks", "where", "places", "doings", "nouns", "lies"}
    for kind, found in read_lexicon().items():
        assert ("where" in found) == ("places" in found), kind
        assert ("nouns" in found) == ("lies" in found), kind
        for name, phrases in found.items():
            assert all(re.fullmatch(r"[^\s,](?:[^,]*[^\s,])?", phrase) for phrase in phrases), (kind, name)
            assert all(("{}" in phrase) == (name in ("places", "lies")) for phrase in phrases), (kind, name)


def test_sentences_are_the_same_ones_each_time_and_none_is_said_twice():
    found = kind_sentences()
    assert found.texts == kind_sentences().texts
    assert len(found.texts) == len(set(found.texts)) == len(found.claims)
    assert set(found.claims.tolist()) == set(range(len(KINDS)))
    assert {"skylarks", "crop fields in Ukraine", "trees on a ridge"} <= set(found.texts)
    river = [text for text, claim in zip(found.texts, found.claims, strict=True) if KINDS[claim] == "river"]
    assert sum(" and " in text for text in river) > 50


def content(text):
    """The words that carry the meaning, without their endings."""
    words = [word for word in re.findall(r"[a-z]+", text.lower()) if word not in FUNCTION_WORDS]
    return frozenset(
        re.sub(r"(es|s|ed|ing)$", "", re.sub(r"ies$", "y", word)) if len(word) > 4 else word for word in words
    )


def test_no_wording_of_the_benchmark_is_trained_on_nor_one_of_the_same_words():
    trained = {content(text) for text in kind_sentences().texts}
    said = {plain(text) for text in kind_sentences().texts}
    asked = benchmark_wordings()
    texts = [*(wording.text for wording in asked), *(text for said in world_wordings().values() for text in said)]
    assert not [text for text in texts if content(text) in trained or plain(text) in said]
    assert all(sum(w.kind == kind and w.held for w in asked) >= 5 for kind in CLASSES)


def test_points_are_drawn_by_area_from_land_and_some_from_water():
    cover = np.zeros((3600, 7200), np.uint8)
    cover[:, :3600] = 10
    lon_lat = draw_points(cover)
    land = lon_lat[:, 0] < 0
    assert 0.9 < land.mean() < 0.97
    north = np.abs(lon_lat[land, 1]) > 60
    assert north.mean() == pytest.approx(
        (np.sin(np.radians(84)) - np.sin(np.radians(60))) / np.sin(np.radians(84)), abs=0.01
    )


def test_points_are_kept_and_know_what_both_claims_make_true(tmp_path):
    truth = np.asarray([[1, 1, 0, 0], [0, 1, 1, 0]], bool)
    points = Points(np.zeros((4, 2)), truth, ["a", "b in a"], np.asarray([[0, 0], [0, 1]]))
    save_points(points, tmp_path / "work" / "points.npz")
    kept = load_points(tmp_path / "work" / "points.npz")
    assert kept.texts == points.texts
    found = kept.true_of(np.asarray([0, 1]), np.asarray([1, 2, 3]))
    assert found.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_points_are_made_once_and_anew_when_a_table_says_otherwise(tmp_path, monkeypatch):
    points = Points(np.zeros((1, 2)), np.ones((1, 1), bool), ["a"], np.asarray([[0, 0]]))
    made = []
    monkeypatch.setattr("training.sentinel.points.load_cells", lambda _: None)
    monkeypatch.setattr("training.sentinel.points.make_points", lambda _: made.append(1) or points)
    assert kept_points(tmp_path).texts == kept_points(tmp_path).texts == ["a"]
    assert len(made) == 1
    (tmp_path / "kinds.yaml").write_text("forest: {say: [woods], sentence: []}")
    monkeypatch.setattr("training.sentinel.points.KIND_WORDINGS", tmp_path / "kinds.yaml")
    kept_points(tmp_path)
    assert len(made) == 2


def half_written(file, _):
    file.write(b"half")
    raise OSError("the disk is full")


def test_embeddings_are_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    class Encoder:
        def encode(self, texts):
            asked.append(list(texts))
            return np.full((len(texts), 384), len(texts), np.float32)

    asked = []
    monkeypatch.setattr("wildsat_core.text.minilm.MiniLMEncoder", Encoder)
    with monkeypatch.context() as patch:
        patch.setattr("numpy.save", half_written)
        with pytest.raises(OSError, match="full"):
            embed_sentences(["a", "b"], tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    assert [embed_sentences(texts, tmp_path / "work").max() for texts in (["a", "b"], ["a"], ["a", "b"])] == [2, 1, 2]
    assert asked == [["a", "b"], ["a", "b"], ["a"]]


def test_kinds_with_a_land_cover_are_kinds():
    assert set(KIND_COVERS) <= set(KINDS)


def test_the_encoder_learns_and_goes_on_from_a_checkpoint(chips, world, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = WildSATModel(s2_config())
    settings = VisionSettings((Stage("rough", ROUGH, 8, 16, 2e-3), Stage("wide", WIDE, 4, 16, 1.2e-3)))
    student = train_vision(model, chips, world, settings, tmp_path)
    assert accuracy(student, chips, linear(0.3)) >= 0.9
    again = train_vision(WildSATModel(s2_config()), chips, world, settings, tmp_path)
    assert torch.equal(again.kinds.weight, student.kinds.weight)
    stages = []
    monkeypatch.setattr("training.sentinel.vision.take_steps", lambda *args: stages.append(args[-1].name))
    begun = train_vision(model, chips, world, settings.resized((0, 1)), tmp_path, trained=True)
    assert stages == ["wide"]
    assert accuracy(begun, chips, linear(0.3)) >= 0.9  # the read-out, which a model does not keep, was fitted


class Undrawn(Chance):
    """Chance without a generator, which no device without numbers has."""

    def __init__(self, seed, device):
        self._generator, self._device = None, device


def taken(found):
    """A stand-in for `take_steps` that does one step's products and gradients and keeps where they are."""

    def step(module, loss_at, *_):
        parts = loss_at(0, np.random.default_rng(0))
        torch.stack(list(parts.values())).sum().backward()
        found.extend(p.grad.device.type for p in module.parameters() if p.grad is not None)

    return step


def test_all_of_a_step_is_on_the_models_device(chips, world, monkeypatch, tmp_path):
    """torch's `meta` device holds no numbers, and like a GPU refuses to compute with what lies on the CPU."""
    found = []
    monkeypatch.setattr("training.sentinel.scenes.Chance", Undrawn)
    monkeypatch.setattr("torch.autocast", lambda *_, **__: nullcontext())  # it knows no such device
    monkeypatch.setattr("training.sentinel.heads.alignment", lambda logits, truth: (logits - truth).square().mean())
    for module in ("vision", "heads"):
        monkeypatch.setattr(f"training.sentinel.{module}.take_steps", taken(found))
    model = WildSATModel(s2_config()).to("meta")
    train_vision(model, chips, world, VisionSettings().resized((0, 1, 1), 40), tmp_path)
    rng = np.random.default_rng(0)
    points = Points(rng.uniform(-60, 60, (9, 2)), np.ones((2, 9), bool), ["a", "b"], np.asarray([[0, 0], [0, 1]]))
    sentences, tiles = kind_sentences(), TileFeatures(torch.zeros(8, 384), torch.zeros(8, len(KINDS)))
    told = (sentences, np.ones((len(sentences.texts), 384), np.float32)), (points, np.ones((2, 384), np.float32))
    train_heads(model, tiles, *told, HeadSettings(sentences=4, tiles=5, points=6))
    assert len(found) > 60
    assert set(found) == {"meta"}


def near_axes(count, axes, rng):
    """(count, 384) embeddings of length 1, each near an axis: the first of `axes` for the first ones, and so on."""
    found = rng.standard_normal((count, 384)).astype(np.float32)
    found[np.arange(count), np.repeat(axes, -(-count // len(axes)))[:count]] = 40
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def of_two_kinds():
    """Two kinds of tile along two axes of the features, two claims of west and east, and texts along four axes."""
    rng = np.random.default_rng(0)
    kinds = torch.arange(2).repeat(32)
    features = F.one_hot(kinds, 384).float() * 3
    truth = F.one_hot(torch.tensor([FOREST, SEA])[kinds], len(KINDS)).float()
    sentences = Sentences([f"wood {i}" for i in range(20)] + [f"sea {i}" for i in range(20)],
                          np.repeat([FOREST, SEA], 20))  # fmt: skip
    lon_lat = np.stack([rng.uniform(-170, 170, 400), rng.uniform(-60, 60, 400)], 1)
    west = lon_lat[:, 0] < 0
    points = Points(lon_lat, np.stack([west, ~west]), [f"w {i}" for i in range(20)] + [f"e {i}" for i in range(20)],
                    np.repeat([[0, 0], [1, 1]], 20, 0))  # fmt: skip
    told = (sentences, near_axes(40, [0, 1], rng)), (points, near_axes(40, [2, 3], rng))
    torch.manual_seed(0)
    model = WildSATModel(s2_config())
    tiles = TileFeatures(features, truth)
    train_heads(model, tiles, *told, HeadSettings(steps=40, sentences=32, tiles=64, points=128))
    return model.eval(), tiles, told


def test_heads_go_on_from_a_checkpoint(of_two_kinds, tmp_path):
    """A model of other random weights ends where the first one did: its steps are behind it."""
    _, tiles, told = of_two_kinds
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = WildSATModel(s2_config())
        train_heads(model, tiles, *told, HeadSettings(steps=2, sentences=8, tiles=8, points=8), tmp_path)
        found.append(model.tile_heads["text"].state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


@pytest.fixture
def heads_folder(chips, world, of_two_kinds, tmp_path, monkeypatch):
    """The folder of a training's heads, which lies in that of its image encoder; what they learn from is there."""

    class FolderError(Exception):
        pass

    def stop(*arguments):
        raise FolderError(arguments[-1])

    _, tiles, ((kinds, _), (points, _)) = of_two_kinds
    said = {"kinds": kinds}
    for name, small in {
        "read_eurosat": lambda *_: chips,
        "read_world": lambda *_: world,
        "train_vision": lambda *_, **__: None,
        "read_features": lambda *_: tiles,
        "read_texts": lambda _: Texts(said["kinds"], None, points, None),
        "train_heads": stop,
    }.items():
        monkeypatch.setattr(f"training.sentinel.recipe.{name}", small)
    (tmp_path / "eurosat").mkdir()

    def folder(claims=kinds.claims, archive="pictures", **settings):
        said["kinds"] = Sentences(kinds.texts, claims)
        (tmp_path / "eurosat" / "archive.zip").write_text(archive)
        with pytest.raises(FolderError) as told:
            make_model(tmp_path, tmp_path / "work", SentinelSettings(**settings), tmp_path / "out")
        return told.value.args[0]

    return folder


def test_parts_go_on_only_from_what_learned_the_same_words_and_pictures(heads_folder, monkeypatch):
    first = heads_folder()
    assert heads_folder() == first
    said_of_others = heads_folder(claims=np.full(40, SEA))
    monkeypatch.setattr("training.sentinel.points.tables_digest", lambda: "of tomorrow")
    other_facts = heads_folder()
    assert len({first, said_of_others, other_facts}) == 3
    assert first.parent == said_of_others.parent == other_facts.parent, "the image encoder reads no words"
    assert heads_folder(archive="other pictures").parent != first.parent
    assert heads_folder(most_chips=9).parent != first.parent


def scores_of(model, features):
    """Of texts on the four axes: with a tile of either kind, and with a place in the west and one in the east."""
    with torch.inference_mode():
        texts = model.project_texts(torch.eye(4, 384))
        tiles = model.project_features(features[:2])["text"]
        places = model.embed_places(np.asarray([[-90.0, 10.0], [90.0, 10.0]]))["place"]
    return texts.numpy() @ tiles.numpy().T, texts.numpy() @ places.T


def test_heads_bring_texts_tiles_and_positions_together(of_two_kinds):
    model, tiles, told = of_two_kinds
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit_text_head(model, tiles, *told, TextHeadSettings())
    with_tiles, with_places = scores_of(model, tiles.features)
    assert with_tiles[:2].argmax(1).tolist() == [0, 1]
    assert with_places[2:].argmax(1).tolist() == [0, 1]
    assert model.config.text_head.slots == len(model.text_head.keys) == 80
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in before.items() if "text_head" not in name
    )


def test_what_a_text_says_nothing_of_scores_alike(of_two_kinds):
    """A kind without a land cover on all places, a claim about points on all tiles."""
    model, tiles, told = of_two_kinds
    fit_text_head(model, tiles, *told, TextHeadSettings())
    with_tiles, with_places = (np.ptp(scores, axis=1) for scores in scores_of(model, tiles.features))
    assert with_tiles[2:].max() < 0.2 * with_tiles[:2].min()
    assert with_places[:2].max() < 0.2 * with_places[2:].min()


@pytest.mark.parametrize(("balance", "same"), [(1.0, True), (0.0, False)])
def test_what_few_tiles_show_counts_as_much_as_what_many_show(of_two_kinds, balance, same):
    """With every tile of the sea there five times more the vectors are what they were, or are not."""
    model, tiles, told = of_two_kinds
    torch.manual_seed(0)
    shown = tiles.features + torch.randn_like(tiles.features)
    repeats = 1 + 4 * tiles.truth[:, SEA].long()
    found = []
    for times in (torch.ones_like(repeats), repeats):
        more = TileFeatures(shown.repeat_interleave(times, 0), tiles.truth.repeat_interleave(times, 0))
        fit_text_head(model, more, *told, TextHeadSettings(balance=balance))
        found.append(F.normalize(model.text_head.meanings[[FOREST, SEA]], dim=-1))
    assert torch.allclose(*found, atol=2e-3) == same


def test_a_kind_that_is_claimed_of_points_finds_both(of_two_kinds):
    model, tiles, ((sentences, named), (points, embeddings)) = of_two_kinds
    claimed = Points(points.lon_lat, points.truth, ["wood 0", *points.texts[1:]], points.claims)
    found = []
    for said in (points, claimed):
        fit_text_head(model, tiles, (sentences, named), (said, embeddings), TextHeadSettings())
        found.append([scores[0, 0] - scores[0, 1] for scores in scores_of(model, tiles.features)])
    (with_tiles, with_places), (still_with_tiles, then_with_places) = found
    assert still_with_tiles > 0.8 * with_tiles > 0.2
    assert then_with_places > with_places + 0.02
    assert model.config.text_head.slots == 79  # a sentence of both is known once
