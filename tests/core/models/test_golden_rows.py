"""Each of the fourteen rows: a checkpoint in the reference's layout, converted, gives the reference's embeddings."""

import time

import numpy as np
import pytest
import torch

from tests.core.models.reference_rows import OPTIONS, build_row, checkpoint
from wildsat_core.models.convert import convert_checkpoint
from wildsat_core.models.registry import MODELS, load_model

CHANNELS = {"satclip": (13, [3, 2, 1]), "prithvi": (6, [2, 1, 0])}
# Half of the files are as several GPUs write them: keys begin with module., a scheduler object lies beside them.
PARALLEL = set(list(OPTIONS)[::2])


def reference_input(name: str, pixels: np.ndarray) -> torch.Tensor:
    """The reference's preparation of pixels, written out."""
    x = torch.from_numpy(pixels).float() / 255
    if name.startswith("vitb16"):
        x = torch.nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True, align_corners=False)
    rows = []
    for image in x:
        shifted = image - image.min() if image.max() > image.min() else torch.zeros_like(image)
        rows.append(shifted / max(float(shifted.max()), 1.0))
    x = torch.stack(rows)
    channels, places = CHANNELS.get(MODELS[name].start, (3, [0, 1, 2]))
    placed = torch.zeros(len(x), channels, *x.shape[2:])
    placed[:, places] = x
    return placed


def expected_vectors(name: str, row, saved: dict, pixels: np.ndarray) -> dict[str, np.ndarray]:
    prefix = "module." if name in PARALLEL else ""
    with torch.inference_mode():
        features = row.features(reference_input(name, pixels))
    vectors = {}
    for space, i in (("text", 1), ("location", 2), ("image", 3)):
        head = saved["satellite_state_dict"][f"{prefix}decoder.backbone{i}.0.weight"]
        if row.tokens > 1:
            # The reference shuffles tokens at random. Over all rotations of their order each token is in each place
            # once, so the mean over rotations is the mean over all orders. Eight numbers of the 256 tell.
            head = head[:8]
            tokens = features.view(len(features), row.tokens, row.size)
            turns = [tokens.roll(turn, dims=1).flatten(1) @ head.T for turn in range(row.tokens)]
            vectors[space] = torch.stack(turns).double().mean(0).numpy()
        else:
            vectors[space] = (features @ head.T).numpy()
    return vectors


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers for it
@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_converted_checkpoint_gives_the_reference_embeddings(name, tmp_path):
    row = build_row(name)
    saved = checkpoint(name, row, parallel=name in PARALLEL)
    torch.save(saved, tmp_path / "published.pth")

    started = time.monotonic()
    convert_checkpoint(tmp_path / "published.pth", name, tmp_path / "model")
    assert time.monotonic() - started < 60

    (tmp_path / "published.pth").unlink()
    model = load_model(tmp_path / "model")
    side = 224 if name == "vitb16-prithvi" else 96
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, side, side), np.uint8)
    pixels[1] = pixels[1] // 4 + 60  # the shift by each picture's minimum matters for this one
    vectors = model.embed_pixels(pixels)
    expected = expected_vectors(name, row, saved, pixels)
    scale = max(np.abs(v).max() for v in expected.values())
    for space in ("text", "location", "image"):
        found = vectors[space][:, : expected[space].shape[1]]
        np.testing.assert_allclose(found, expected[space], rtol=1e-5, atol=1e-5 * max(scale, 1.0))
    assert model.config.source_sha256 is not None
    assert model.ref.text_encoder == "gritlm"
    assert model.config.metric == "inner_product"

    prefix = "module." if name in PARALLEL else ""
    text = torch.randn(3, 4096)
    head = saved["text_emb_model"][f"{prefix}head.weight"]
    torch.testing.assert_close(model.project_texts(text), text @ head.T, rtol=1e-5, atol=1e-5)


BF16_TOLERANCE = 0.02  # of the largest number in a vector


@pytest.mark.parametrize("name", ["resnet50-random", "vitb16-satclip"])
def test_bfloat16_is_within_its_tolerance_and_ranks_alike(name, tmp_path):
    torch.save(checkpoint(name, build_row(name), parallel=False), tmp_path / "published.pth")
    model = convert_checkpoint(tmp_path / "published.pth", name, tmp_path / "model")
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (6, 3, 4, 4), np.uint8)  # pictures that differ in their large shapes
    pixels = coarse.repeat(24, axis=2).repeat(24, axis=3)
    exact, rough = (model.embed_pixels(pixels, bf16=half)["text"] for half in (False, True))
    assert 0 < np.abs(exact - rough).max() < BF16_TOLERANCE * np.abs(exact).max()
    # Queries are the pictures' own differences from their mean, so that scores spread.
    queries = exact - exact.mean(0)
    before, after = exact @ queries.T, rough @ queries.T
    apart = before[:, None] - before[None]
    clear = np.abs(apart) > 0.02 * np.ptp(before, axis=0)
    assert clear.mean() > 0.6  # of all pairs, a picture with itself among them
    assert ((after[:, None] - after[None])[clear] * apart[clear] > 0).all()
