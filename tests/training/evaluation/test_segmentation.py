"""Classes of pixels told from feature maps: of every kind of backbone, and measured against formulas."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from benchmarks.eurosat_mosaics import make_mosaics
from training.evaluation.commands import evaluate
from training.evaluation.feature_maps import feature_map
from training.evaluation.features import open_subject
from training.evaluation.labelled import open_labelled
from training.evaluation.labelled_set import IGNORED
from training.evaluation.segmentation import PatchProbe, iou_figures, mean_iou
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.prithvi import PrithviBackbone
from wildsat_core.torchvision_guard import guard_torchvision

PX = 32
CLIP = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 8, "projection_dim": 4}  # fmt: skip


def small_swin() -> nn.Module:
    guard_torchvision()
    from torchvision.models import SwinTransformer

    return SwinTransformer(
        [4, 4], embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=[4, 4], stochastic_depth_prob=0.0
    )


def small_timm_swin() -> nn.Module:
    guard_torchvision()
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(img_size=PX, embed_dim=8, depths=(1, 1), num_heads=(1, 1), window_size=4, num_classes=0)


@pytest.mark.parametrize(
    ("backbone", "wanted"),
    [
        (lambda: build_backbone("timm:test_resnet", {}, 3), lambda net, x: net.forward_features(x)),
        (
            lambda: build_backbone("timm:test_vit", {"img_size": PX}, 3),
            lambda net, x: net.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (2, 2)),
        ),
        (
            lambda: build_backbone("wildsat:compact", {"widths": [4, 8], "blocks": [1, 1], "features": 6}, 3),
            lambda net, x: net(x)[:, :, None, None],
        ),
        (small_swin, lambda net, x: net.permute(net.norm(net.features(x)))),
        (small_timm_swin, lambda net, x: net.forward_features(x).permute(0, 3, 1, 2)),
        (
            lambda: build_backbone("clip:vit", CLIP, 3),
            lambda net, x: net.vision(pixel_values=x).last_hidden_state[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
        ),
    ],
    ids=["resnet", "vit", "compact", "swin", "timm-swin", "clip"],
)
def test_the_last_map_is_what_is_pooled(backbone, wanted) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = backbone().eval()
    side = 2 * PX if "ResNet" in type(net).__name__ else PX  # of 32 px its last map is one patch
    pixels = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        found, expected = feature_map(net, pixels), wanted(net, pixels)
    if expected.shape[-1] == 1:
        found = found.mean((2, 3), keepdim=True)
    torch.testing.assert_close(found, expected)
    assert not net._forward_hooks
    assert not any(module._forward_hooks for module in net.modules())


def test_prithvis_patches_come_in_their_order_and_a_pooled_net_has_none() -> None:
    net = PrithviBackbone(image_px=32, patch_px=8, width=48, depth=1, heads=2, pool="tokens").eval()
    pixels = torch.rand(1, 6, 32, 32)
    with torch.inference_mode():
        found = feature_map(net, pixels)
        assert found.shape == (1, 48, 4, 4)
        torch.testing.assert_close(found.flatten(2).transpose(1, 2).flatten(1), net(pixels))
    with pytest.raises(InvalidInputError, match="no layer that knows patches"):
        feature_map(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.rand(1, 3, 8, 8))


def test_intersection_over_union_is_that_of_all_pixels() -> None:
    random = np.random.default_rng(0)
    truth, said = random.integers(0, 3, (2, 6, 10, 10))
    truth[0, :5] = IGNORED
    shared = np.array([[((t == k) & (s == k)).sum() for k in range(4)] for t, s in zip(truth, said, strict=True)])
    known = truth != IGNORED
    either = np.array([[(((t == k) | (s == k)) & n).sum() for k in range(4)]
                       for t, s, n in zip(truth, said, known, strict=True)])  # fmt: skip
    row = iou_figures(shared, either, ("a", "b", "c", "never"))
    each = [shared[:, k].sum() / either[:, k].sum() for k in range(3)]
    assert list(row) == ["mIoU", "pixels", "a", "b", "c"], "a class that is nowhere counts nowhere"
    assert row["mIoU"].value == pytest.approx(np.mean(each), abs=1e-4)
    assert row["b"].value == pytest.approx(each[1], abs=1e-4)
    assert row["pixels"].value == pytest.approx((truth == said)[known].mean(), abs=1e-4)
    twice = np.array([[2.0, 0, 1, 1, 1, 1]])
    drawn = [0, 0, 2, 3, 4, 5]
    wanted = np.mean([shared[drawn, k].sum() / either[drawn, k].sum() for k in range(3)])
    assert mean_iou(shared, either)(twice)[0] == pytest.approx(wanted)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two halves, land and sea, the line between them at another place in each; one band of 8 unknown."""
    folder, random = tmp_path_factory.mktemp("masks"), np.random.default_rng(0)
    lines = ["file,mask,split"]
    for number in range(36):
        line = 8 * int(random.integers(1, 4))
        truth = np.zeros((PX, PX), np.uint8)
        truth[:, line:] = 1
        colour = np.where(truth[..., None] == 1, (30, 60, 140), (60, 130, 50)) + random.integers(-20, 20, (PX, PX, 3))
        truth[:2] = IGNORED
        Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(truth).save(folder / f"{number}_mask.png")
        lines.append(f"{number}.png,{number}_mask.png,{('train', 'train', 'val', 'test')[number % 4]}")
    (folder / "coast.csv").write_text("\n".join(lines) + "\n")
    return folder / "coast.csv"


def test_a_probe_tells_pixels_apart(table: Path) -> None:
    data = open_labelled(str(table))
    assert (data.kind, data.classes, data.labels.shape) == ("mask", ("0", "1"), (36, 0))
    assert data.mask is not None
    maps_of = open_subject("colour").maps
    assert maps_of is not None
    maps = np.concatenate([maps_of(batch) for batch in data.batches(np.arange(36), 7)]).astype(np.float16)
    assert maps.shape == (36, 3, 4, 4)
    masks = np.stack([data.mask(row) for row in range(36)])
    probe = PatchProbe((maps[:20], masks[:20]), (maps[20:28], masks[20:28]), 2)
    row = iou_figures(*probe.overlap(maps[28:], masks[28:]), data.classes)
    assert row["mIoU"].value > 0.85, "but for the line, which lies between patches"
    none = (maps[:0], masks[:0])
    unseen = PatchProbe((maps[:20], np.random.default_rng(0).permuted(masks[:20])), none, 2)
    assert iou_figures(*unseen.overlap(maps[28:], masks[28:]), data.classes)["mIoU"].value < 0.7
    small = data.cropped(16)
    assert small.mask is not None
    assert (small.read(0).shape, small.mask(0).shape) == ((3, 16, 16), (16, 16))
    np.testing.assert_array_equal(small.read(0), data.read(0)[:, 8:24, 8:24])


@pytest.mark.parametrize("classes", [2, 17, 40, 255])
def test_pixels_are_counted_right_however_many_classes_there_are(classes: int) -> None:
    rng = np.random.default_rng(classes)
    masks = rng.integers(0, classes, (3, 8, 8)).astype(np.uint8)
    masks[0, 0] = IGNORED
    maps = rng.normal(size=(3, 5, 8, 8)).astype(np.float16)
    probe = PatchProbe((maps, masks), (maps[:0], masks[:0]), classes)
    said = probe._logits(maps, masks.shape[-2:]).argmax(1).numpy()
    shared, either = probe.overlap(maps, masks)
    for one in range(classes):
        in_truth, in_said = (masks == one) & (masks != IGNORED), (said == one) & (masks != IGNORED)
        assert shared[:, one].tolist() == (in_truth & in_said).sum((1, 2)).tolist()
        assert either[:, one].tolist() == (in_truth | in_said).sum((1, 2)).tolist()


def test_one_command_measures_segmentation(table: Path, tmp_path: Path) -> None:
    options = ["--data", str(table), "--out", str(tmp_path), "--threads", "1"]
    models = ["--model", "colour", "--model", "random:timm:test_resnet"]
    answer = CliRunner().invoke(evaluate, ["probe", *options, *models])
    assert answer.exit_code == 0, answer.output
    report = json.loads((tmp_path / "probe.json").read_text())
    for row in report["figures"].values():
        assert list(row) == ["mIoU", "pixels", "0", "1"]
    assert report["figures"]["colour"]["mIoU"]["value"] > 0.85
    assert "mIoU" in (tmp_path / "probe.tex").read_text()
    for command, words in (
        (["probe", "--shots", "5"], "have not one class each"),
        (["robustness"], "there are probes alone"),
        (["zeroshot", "--model", "colour"], "the classes have numbers for names"),
    ):
        refused = CliRunner().invoke(evaluate, [command[0], *options, *(command[1:] or models[:2])])
        assert isinstance(refused.exception, InvalidInputError)
        assert words in str(refused.exception)


def test_mosaics_of_chips_have_labels_and_masks_that_agree(tmp_path: Path) -> None:
    shades = {"a": 40, "b": 120, "c": 200}
    for name, shade in shades.items():
        (tmp_path / "chips" / name).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (6, 6), (shade,) * 3).save(tmp_path / "chips" / name / f"{name}_{number}.png")
    make_mosaics(open_labelled(str(tmp_path / "chips")), tmp_path / "out", {"train": 9, "val": 99, "test": 2})
    labels, masks = (open_labelled(str(tmp_path / "out" / f"{name}.csv")) for name in ("labels", "masks"))
    assert masks.mask is not None
    assert (len(masks.rows_of("train")), len(masks.rows_of("test"))) == (9, 2)
    assert 0 < len(masks.rows_of("val")) < 4, "as many as there are chips for"
    for row in range(len(masks.labels)):
        shown, mask = masks.read(row), masks.mask(row)
        assert shown.shape == (3, 12, 12)
        np.testing.assert_array_equal(np.array(list(shades.values()))[mask], shown[0])
        assert [labels.classes[i] for i in np.unique(mask)] == [
            name for name, has in zip(labels.classes, labels.labels[row], strict=True) if has
        ]


def test_a_mask_that_is_none_is_refused(table: Path, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("file,mask\na.png,a.png\n")
    with pytest.raises(SourceError, match=r"a\.png can't be read: it has pixels of the mode RGB; a mask has one"):
        open_labelled(str(tmp_path / "t.csv"))
