"""Model directories: what is written is read again; what doesn't fit is refused; vectors have the promised form."""

import json
import shutil

import numpy as np
import pytest
import torch

from wildsat_core.errors import CheckpointError, CompilationError, ModelNotFoundError, SpaceUnavailableError
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig, read_config
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import MODELS, PRETRAINED, find_model, installed_models, load_model
from wildsat_core.models.transfer import gathered
from wildsat_core.models.weights import no_random_weights
from wildsat_core.preprocess import Preprocessing, preprocess
from wildsat_core.types import ModelRef, SpaceSpec


class Letters:
    """A text encoder that counts letters."""

    name, dim = "letters", 6

    def encode(self, texts):
        return np.array([[text.count(c) + 1.0 for c in "aeiou "] for text in texts], np.float32).reshape(-1, 6)


def config(**changes):
    head = HeadConfig(in_features=512, out_features=8)
    base = {
        "name": "tiny",
        "architecture": "timm:resnet10t",
        "feature_size": 512,
        "preprocessing": Preprocessing(input_px=32),
        "tile_heads": {"text": head, "location": head, "image": HeadConfig(in_features=512, out_features=5)},
        "text_encoder": "letters",
        "text_head": HeadConfig(in_features=6, out_features=8),
        "location": LocationConfig(
            kind="position",
            parameters={"dim": 8, "waves": 4, "width": 8, "depth": 1},
            spaces=("place", "location"),
            out_features=8,
        ),
        "default_blend": 0.5,
    }
    return ModelConfig(**(base | changes))


@pytest.fixture
def model():
    return WildSATModel(config(), Letters())


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 3, 40, 40), np.uint8)


def test_what_is_written_is_read_again(model, pixels, tmp_path):
    digest = model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.config == model.config
    assert again.ref == ModelRef("tiny", digest, "letters", "/255, 32 px, red@0 green@1 blue@2 of 3, reference")
    for space, vectors in model.embed_pixels(pixels).items():
        np.testing.assert_array_equal(again.embed_pixels(pixels)[space], vectors)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_files_are_half_as_large_and_nearly_equal(model, pixels, tmp_path):
    model.save(tmp_path / "whole")
    model.save(tmp_path / "half", half=True)
    sizes = [(tmp_path / d / "model.safetensors").stat().st_size for d in ("whole", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    half = load_model(tmp_path / "half")
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    np.testing.assert_allclose(half.embed_pixels(pixels)["text"], model.embed_pixels(pixels)["text"], atol=5e-3)


def test_each_space_has_its_dimension_and_metric(model, pixels):
    assert model.spaces == {
        "text": SpaceSpec(8, "cosine"), "location": SpaceSpec(8, "cosine"),
        "image": SpaceSpec(5, "cosine"), "place": SpaceSpec(8, "cosine"),
    }  # fmt: skip
    vectors = model.embed_pixels(pixels)
    assert {space: v.shape for space, v in vectors.items()} == {"text": (3, 8), "location": (3, 8), "image": (3, 5)}
    for values in (
        *vectors.values(),
        model.embed_texts(["a lake", "sea"]),
        *model.embed_places([[179.9, -16]]).values(),
    ):
        assert values.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
    assert set(model.embed_places([[0, 0]])) == {"place", "location"}
    assert model.encode_texts(["aa"]).tolist() == [[3, 1, 1, 1, 1, 1]]


def test_inner_product_vectors_are_not_normalised(pixels):
    model = WildSATModel(config(metric="inner_product"), Letters())
    texts = model.embed_texts(["a lake"])
    np.testing.assert_allclose(
        texts, model.encode_texts(["a lake"]) @ model.text_head.weight.detach().numpy().T, rtol=1e-5
    )
    assert abs(np.linalg.norm(texts) - 1) > 1e-3


def test_embedding_leaves_the_model_in_training_and_has_no_chance_in_it(model, pixels):
    model.train()
    first = model.embed_pixels(pixels)["text"]
    np.testing.assert_array_equal(model.embed_pixels(pixels)["text"], first)
    np.testing.assert_allclose(model.embed_pixels(pixels[:1])["text"], first[:1], atol=1e-5)
    assert model.training
    assert model.backbone.training
    assert model(torch.from_numpy(pixels))["text"].requires_grad


def test_bfloat16_keeps_the_ranking_within_a_tolerance(model):
    """Vectors of length 1 differ by less than 0.03 in any number; the order of clearly different scores stays."""
    pixels = np.random.default_rng(1).integers(0, 256, (8, 3, 40, 40), np.uint8)
    exact, rough = model.embed_pixels(pixels)["text"], model.embed_pixels(pixels, bf16=True)["text"]
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.03


@pytest.mark.parametrize("half", [True, False])
def test_an_optimised_model_embeds_in_bfloat16_where_that_is_multiplied(model, pixels, half, monkeypatch):
    before = model.embed_pixels(pixels)["text"]
    monkeypatch.setattr("wildsat_core.models.model.supports_bf16", lambda _: half)
    after = model.optimise_for_inference().embed_pixels(pixels)["text"]
    np.testing.assert_array_equal(after, model.embed_pixels(pixels, bf16=half)["text"])
    assert (np.abs(after - before).max() > 1e-4) == half


def test_an_optimised_model_has_kernels_with_channels_last_where_they_have_two_dimensions(model):
    model.backbone.cube = torch.nn.Conv3d(3, 2, 3)
    model.optimise_for_inference()
    kernels = [p for p in model.backbone.parameters() if p.ndim == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch needs g++ to compile for a CPU")
@pytest.mark.timeout(1200)  # torch compiles for 30 s of processor time, whatever the network: minutes on a busy machine
def test_a_compiled_model_gives_the_same_vectors_for_batches_of_any_size(pixels):
    head = HeadConfig(in_features=16, out_features=8)
    small = {"architecture": "wildsat:compact", "architecture_args": {"widths": [8], "blocks": [1], "features": 16}}
    torch.manual_seed(0)  # its code is then found again in torch's cache
    model = WildSATModel(config(**small, feature_size=16, tile_heads={"text": head, "image": head}), Letters())
    before = model.optimise_for_inference().embed_pixels(pixels)
    fewer, parameters = model.embed_pixels(pixels[:2]), set(model.state_dict())
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append("as it is"))
    model.compile_for(pixels)
    after = model.embed_pixels(pixels)
    assert calls == []
    for space, vectors in before.items():
        np.testing.assert_allclose(after[space], vectors, atol=0.02)
    np.testing.assert_array_equal(model.embed_pixels(pixels[:2])["text"], fewer["text"])
    assert calls == ["as it is"]
    assert set(model.state_dict()) == parameters


def test_a_model_that_can_not_be_compiled_works_as_before(model, pixels, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fail)
    before = model.embed_pixels(pixels)["text"]
    with pytest.raises(CompilationError, match=r"for cpu: No working C\+\+ compiler found\. .* leave out --compile"):
        model.compile_for(pixels)
    np.testing.assert_array_equal(model.embed_pixels(pixels)["text"], before)


def test_what_a_model_lacks_is_said():
    model = WildSATModel(config(text_head=None, location=None), Letters())
    with pytest.raises(SpaceUnavailableError, match="'tiny' has no text head"):
        model.embed_texts(["a"])
    with pytest.raises(SpaceUnavailableError, match="'tiny' has no location encoder"):
        model.embed_places([[0, 0]])


def test_weights_of_another_model_and_damaged_files_are_refused(model, tmp_path):
    model.save(tmp_path)
    other = config(text_head=HeadConfig(in_features=7, out_features=8))
    (tmp_path / "config.json").write_text(other.model_dump_json())
    with pytest.raises(CheckpointError, match=r"text_head\.weight \(8, 6\) instead of \(8, 7\)"):
        load_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_model(tmp_path)
    file.unlink()
    with pytest.raises(ModelNotFoundError, match=r"it has no model\.safetensors"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"feature_size": 511}, "takes 512 features, the backbone gives 511"),
        ({"tile_heads": {"place": {"in_features": 512, "out_features": 8}}}, "made by the location encoder"),
        ({"text_head": {"in_features": 6, "out_features": 9}}, "tiles have 8 numbers in the text space, texts 9"),
        ({"text_head": {"kind": "mlp", "in_features": 6, "out_features": 8}}, "a mlp head needs a hidden width"),
        ({"name": "../up"}, "name: String should match"),
        ({"preprocessing": {"mystery": 1}}, "preprocessing.mystery"),
    ],
)
def test_configs_that_contradict_themselves_are_refused(model, tmp_path, change, message):
    model.save(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=message):
        read_config(tmp_path)


def test_unknown_architectures_are_refused():
    for architecture, message in (
        ("keras:net", "must begin with one of timm:, torchvision:, clip:, prithvi:"),
        ("timm:resnet51x", "can't build 'timm:resnet51x'"),
        ("torchvision:nothing", "can't build 'torchvision:nothing'"),
        ("clip:rn50", "there is clip:vit"),
        ("prithvi:rn50", "there is prithvi:vit"),
    ):
        with pytest.raises(CheckpointError, match=message):
            WildSATModel(config(architecture=architecture))


def test_models_are_found_by_name_before_they_are_missed(model, tmp_path, monkeypatch):
    monkeypatch.setenv("WILDSAT_MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match="no model 'tiny' is installed"):
        find_model("tiny")
    model.save(tmp_path / "tiny")
    (tmp_path / "unfinished").mkdir()
    assert find_model("tiny") == tmp_path / "tiny"
    assert "unfinished" not in installed_models()
    with pytest.raises(ModelNotFoundError):
        find_model("../tiny")


def test_the_shipped_model_is_as_its_row_says():
    if not (PRETRAINED / "wildsat-mini" / "config.json").is_file():
        pytest.skip("no shipped weights in this checkout")
    shipped, row = read_config(PRETRAINED / "wildsat-mini"), MODELS["wildsat-mini"]
    assert (shipped.architecture, shipped.architecture_args) == (row.architecture, row.architecture_args)
    assert shipped.preprocessing == row.preprocessing
    assert (shipped.feature_size, shipped.text_encoder, shipped.metric) == (
        row.feature_size,
        row.text_encoder,
        row.metric,
    )


@pytest.mark.parametrize("architecture", ["torchvision:swin_t", "clip:vit", "timm:vit_tiny_patch16_224"])
def test_modules_build_without_draws_and_without_hanging(architecture):
    from wildsat_core.models.backbones import build_backbone

    with no_random_weights():
        module = build_backbone(architecture, {}, 3)
    assert sum(p.numel() for p in module.parameters()) > 10**6  # of whatever was in memory: a file's weights come next
    assert torch.randn(4).abs().max() > 0  # draws are back


def test_a_batch_that_is_begun_gives_what_it_gives_when_it_is_waited_for():
    model = WildSATModel(config()).eval()
    rng = np.random.default_rng(4)
    batches = [rng.integers(0, 255, (3, 3, side, side)).astype(np.uint8) for side in (40, 24, 40)]
    places = rng.uniform(-80, 80, (3, 2))
    begun = [model.begin_embedding(gathered(list(batch), model.device), places) for batch in batches]
    for batch, pending in reversed(list(zip(batches, begun, strict=True))):
        vectors = pending.result()
        assert all(array.dtype == np.float32 for array in vectors.values())
        np.testing.assert_array_equal(vectors.pop("place"), model.embed_places(places)["place"])
        for space, expected in model.embed_pixels(batch).items():
            np.testing.assert_array_equal(vectors[space], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pictures_go_to_the_device_as_they_are_stored(dtype, monkeypatch):
    """Four times as many bytes as eight-bit numbers, and a resizing by readers, would keep a GPU waiting."""
    given = []

    def prepared(values, spec):
        given.append((values.dtype, tuple(values.shape)))
        return preprocess(values, spec)

    monkeypatch.setattr("wildsat_core.models.model.preprocess", prepared)
    pictures = [np.full((3, 20, 30), i, dtype) for i in range(2)]
    WildSATModel(config()).eval().begin_embedding(gathered(pictures, torch.device("cpu"))).result()
    assert given == [(getattr(torch, dtype), (2, 3, 20, 30))]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_sent_batches_from_page_locked_memory_and_nobody_waits():
    device = torch.device("cuda")
    model = WildSATModel(config()).eval().to(device)
    pictures = [np.random.default_rng(i).integers(0, 255, (3, 64, 64)).astype(np.uint8) for i in range(64)]
    batch = gathered(pictures, device)
    assert batch.is_pinned()
    begun = [model.begin_embedding(batch) for _ in range(4)]
    for pending in begun:
        for space, expected in model.embed_pixels(np.stack(pictures)).items():
            np.testing.assert_allclose(pending.result()[space], expected, atol=1e-5)
