"""Published starting weights: each kind of file loads whole, and a wrong file is refused by name and shape."""

import argparse

import pytest
import timm
import torch
import torchvision
from timm.models.vision_transformer import Block
from torch import nn

from wildsat_core.errors import CheckpointError, ModelNotFoundError
from wildsat_core.models import starts
from wildsat_core.models.starts import MAY_MISS, load_start


@pytest.fixture(scope="module")
def resnet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return torchvision.models.resnet50().eval()


def saved(content, tmp_path, name="file.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def assert_same(backbone, module, size=64, channels=3):
    x = torch.rand(1, channels, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(backbone.eval()(x), module.eval()(x), rtol=1e-5, atol=1e-5)


def test_imagenet_weights_from_a_file(resnet, tmp_path):
    assert_same(load_start("resnet50-imagenet", saved(resnet.state_dict(), tmp_path)), resnet)


def test_nine_bands_get_a_mixing_layer_before_the_loaded_backbone(resnet, tmp_path):
    backbone = load_start("resnet50-imagenet", saved(resnet.state_dict(), tmp_path), channels=9)
    assert backbone.first_layer.weight.shape == (3, 9, 1, 1)
    assert backbone.first_layer.weight.std() > 0.05  # drawn, not left as it was in memory
    assert_same(backbone.inner, resnet)


def test_satlas_loses_its_wrappers_and_its_pyramid(resnet, tmp_path):
    state = {f"backbone.backbone.resnet.{key}": value for key, value in resnet.state_dict().items()}
    state["intermediates.0.fpn.layer.weight"] = torch.zeros(2)
    assert_same(load_start("resnet50-satlas", saved(state, tmp_path)), resnet)


def test_satlas_swin_is_the_second_version(tmp_path):
    swin = torchvision.models.swin_v2_t()
    state = {f"backbone.backbone.{key}": value for key, value in swin.state_dict().items()}
    assert_same(load_start("swint-satlas", saved(state, tmp_path)), swin)


def test_moco_keeps_its_own_classifier_and_no_other_key_may_be_missing(resnet, tmp_path):
    state = {f"module.base_encoder.{key}": value for key, value in resnet.state_dict().items()}
    state["module.base_encoder.fc.0.weight"] = torch.zeros(4096, 2048)
    state["module.momentum_encoder.conv1.weight"] = torch.zeros(64, 3, 7, 7)
    backbone = load_start("resnet50-moco", saved({"state_dict": state, "arch": "resnet50"}, tmp_path))
    torch.testing.assert_close(backbone.layer4[2].conv3.weight, resnet.layer4[2].conv3.weight)
    torch.testing.assert_close(backbone.bn1.running_var, resnet.bn1.running_var)
    assert MAY_MISS["moco"] == {"fc.weight", "fc.bias"}
    del state["module.base_encoder.layer1.0.conv1.weight"]
    with pytest.raises(CheckpointError, match=r"missing 1 \(layer1\.0\.conv1\.weight\)"):
        load_start("resnet50-moco", saved({"state_dict": state}, tmp_path))


def test_seco_is_a_numbered_sequence(resnet, tmp_path):
    children = nn.Sequential(*list(resnet.children())[:-1], nn.Flatten())
    state = {f"encoder_q.{key}": value for key, value in children.state_dict().items()}
    state |= {f"encoder_k.{key}": value for key, value in children.state_dict().items()}
    state["queue"] = torch.zeros(3)
    content = {"state_dict": state, "hyper_parameters": argparse.Namespace(base_encoder="resnet50"), "epoch": 1}
    assert_same(load_start("resnet50-seco", saved(content, tmp_path, "seco.ckpt")), children)


@pytest.mark.parametrize(
    ("row", "name"), [("resnet50-satclip", "resnet50"), ("vitb16-satclip", "vit_small_patch16_224")]
)
def test_satclips_image_tower(row, name, tmp_path):
    tower = timm.create_model(name, in_chans=13, num_classes=256)
    state = {f"model.visual.{key}": value for key, value in tower.state_dict().items()}
    state["model.location.nnet.last_layer.bias"] = torch.zeros(256)
    state["model.logit_scale"] = torch.zeros(())
    file = saved({"state_dict": state, "hyper_parameters": {"vision_layers": "moco"}}, tmp_path, "satclip.ckpt")
    assert_same(load_start(row, file), tower, size=224, channels=13)


def prithvi_file(tmp_path, width=768):
    """The published file: three dates' positions, a decoder, and the yaml beside it."""
    blocks = nn.ModuleList(Block(width, 12, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(12))
    state = {f"blocks.{key}": value for key, value in blocks.state_dict().items()}
    state |= {"patch_embed.proj.weight": torch.randn(width, 6, 1, 16, 16), "patch_embed.proj.bias": torch.zeros(width)}
    state |= {"cls_token": torch.ones(1, 1, width), "pos_embed": torch.zeros(1, 589, width)}
    state |= {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width), "mask_token": torch.zeros(1, 1, 512)}
    state |= {"decoder_pos_embed": torch.zeros(1, 589, 512), "decoder_embed.weight": torch.zeros(512, width)}
    return saved(state, tmp_path, "Prithvi_100M.pt")


def test_prithvi_takes_its_encoder_and_computes_positions(tmp_path):
    file = prithvi_file(tmp_path)
    (tmp_path / "Prithvi_100M_config.yaml").write_text("model_args:\n  embed_dim: 768\n  depth: 12\n  num_frames: 3\n")
    backbone = load_start("vitb16-prithvi", file)
    assert backbone.cls_token.unique().tolist() == [1.0]
    assert backbone.pos_embed.shape == (1, 197, 768)
    assert backbone.pos_embed[0, 0].abs().max() == 0
    assert backbone.eval()(torch.rand(1, 6, 224, 224)).shape == (1, 768)
    (tmp_path / "Prithvi_100M_config.yaml").write_text("model_args:\n  embed_dim: 1024\n")
    with pytest.raises(CheckpointError, match=r"describes another network than Prithvi-100M: \{'embed_dim': 1024\}"):
        load_start("vitb16-prithvi", file)


def test_prithvis_positions_have_their_published_form():
    """Column, row and date codes at patch (row 3, column 5), from the formula of sine and cosine positions."""
    from wildsat_core.models.prithvi import sine_positions

    code = sine_positions(768, 14)[0, 1 + 3 * 14 + 5]
    numbers = 10_000.0 ** (-torch.arange(144) / 144)
    torch.testing.assert_close(code[:144], torch.sin(5 * numbers), atol=1e-5, rtol=0)
    torch.testing.assert_close(code[144:288], torch.cos(5 * numbers), atol=1e-5, rtol=0)
    torch.testing.assert_close(code[288:432], torch.sin(3 * numbers), atol=1e-5, rtol=0)
    torch.testing.assert_close(code[576:], torch.cat([torch.zeros(96), torch.ones(96)]))


def test_clip_from_a_hugging_face_folder(tmp_path, monkeypatch):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"image_size": 32, "patch_size": 16, "projection_dim": 8}
    from dataclasses import replace

    from wildsat_core.models.registry import MODELS

    vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**small)).eval()
    state = dict(vision.state_dict())
    state |= {"text_model.embeddings.token_embedding.weight": torch.zeros(3), "logit_scale": torch.zeros(())}
    state["vision_model.embeddings.position_ids"] = torch.arange(5)
    saved(state, tmp_path, "pytorch_model.bin")
    monkeypatch.setitem(MODELS, "tiny-clip", replace(MODELS["vitb16-clip"], name="tiny-clip", architecture_args=small))
    backbone = load_start("tiny-clip", tmp_path).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(x), vision(pixel_values=x).image_embeds)


def test_a_file_for_another_architecture_is_refused_by_name_and_shape(resnet, tmp_path):
    other = torchvision.models.resnet50(num_classes=10)
    file = saved(other.state_dict(), tmp_path)
    expected = r"file\.pth does not fit ResNet: of another shape 2 \(fc\.bias \(10,\) instead of \(1000,\), fc\.weight"
    with pytest.raises(CheckpointError, match=expected):
        load_start("resnet50-imagenet", file)
    with pytest.raises(CheckpointError, match=r"missing \d+ \(class_token"):
        load_start("vitb16-imagenet", file)
    with pytest.raises(CheckpointError, match="missing 320"):
        load_start("resnet50-satclip", file)


def test_a_refused_file_leaves_the_module_as_it_was(tmp_path):
    from wildsat_core.models.weights import load_exactly

    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError):
        load_exactly(layer, {"weight": torch.zeros(2, 2)}, "file")
    torch.testing.assert_close(layer.weight, before)


def test_starts_without_files(tmp_path):
    with pytest.raises(CheckpointError, match=r"resnet50-seco starts from seco_resnet50_100k.ckpt.*give its path"):
        load_start("resnet50-seco")
    with pytest.raises(CheckpointError, match="takes no file"):
        load_start("resnet50-random", tmp_path / "x.pth")
    with pytest.raises(ModelNotFoundError, match="no model is called"):
        load_start("resnet51-imagenet")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_start("vitb16-clip", tmp_path)
    assert load_start("resnet50-random").fc.out_features == 1000


def test_a_timm_backbone_from_a_file(tmp_path):
    model = timm.create_model("resnet10t", num_classes=0)
    assert_same(load_start("timm:resnet10t", saved(model.state_dict(), tmp_path)), model)


def test_every_start_of_the_registry_has_a_loader():
    from wildsat_core.models.registry import MODELS

    known = {"moco", "satclip", "seco", "satlas", "clip", "prithvi", "imagenet", "random"}
    assert {spec.start for spec in MODELS.values()} <= known
    assert set(starts.MAY_MISS) <= known | {"torchgeo"}
