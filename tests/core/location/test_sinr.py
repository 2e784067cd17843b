"""SINR and LE-SINR against their definition written out, with published key names."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wildsat_core.errors import CheckpointError, MissingDataError
from wildsat_core.location.bioclim import BioclimRaster
from wildsat_core.location.sinr import SinrEncoder, sinusoid_features
from wildsat_core.models.location_files import sinr_weights
from wildsat_core.models.weights import load_exactly

PLACES = torch.tensor([[-98.0, 33.5], [180.0, -90.0], [-180.0, 90.0], [0.0, 0.0], [179.9, -16.2]])


def residual_state(inputs, width=8, depth=4, prefix="", outputs=5):
    state = {f"{prefix}feats.0.weight": torch.randn(width, inputs), f"{prefix}feats.0.bias": torch.randn(width)}
    for block in range(2, 2 + depth):
        for layer in ("w1", "w2"):
            state[f"{prefix}feats.{block}.{layer}.weight"] = torch.randn(width, width)
            state[f"{prefix}feats.{block}.{layer}.bias"] = torch.randn(width)
    state[f"{prefix}class_emb.weight"] = torch.randn(outputs, width)
    return state


def residual_by_hand(state, x, prefix=""):
    x = F.relu(x @ state[f"{prefix}feats.0.weight"].T + state[f"{prefix}feats.0.bias"])
    block = 2
    while f"{prefix}feats.{block}.w1.weight" in state:
        at = f"{prefix}feats.{block}"
        y = F.relu(x @ state[f"{at}.w1.weight"].T + state[f"{at}.w1.bias"])
        x = x + F.relu(y @ state[f"{at}.w2.weight"].T + state[f"{at}.w2.bias"])
        block += 1
    return x


def loaded(state, params):
    arguments, weights = sinr_weights(state, params)
    encoder = SinrEncoder(**arguments)
    load_exactly(encoder, weights, "state")
    return encoder.eval()


@pytest.fixture
def raster(tmp_path):
    layers = np.random.default_rng(0).normal(size=(5, 9, 20)).astype(np.float32)
    layers[0, 0] = np.nan
    np.save(tmp_path / "bioclim.npy", layers)
    return tmp_path / "bioclim.npy", layers


def test_position_features_are_sines_then_cosines_of_each_octave():
    features = sinusoid_features(torch.tensor([[-98.0, 33.5]]), 8)[0]
    u, v = -98 / 180 * math.pi, 33.5 / 90 * math.pi
    expected = [math.sin(u), math.sin(v), math.cos(u), math.cos(v)]
    expected += [math.sin(2 * u), math.sin(2 * v), math.cos(2 * u), math.cos(2 * v)]
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 4])
def test_a_position_network_equals_its_definition(depth):
    state = residual_state(4, depth=depth)
    encoder = loaded(state, {"input_enc": "sin_cos", "input_dim": 4})
    features = encoder(PLACES)
    expected = residual_by_hand(state, sinusoid_features(PLACES, 4))
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    scores = encoder.species_scores(features)
    torch.testing.assert_close(scores, torch.sigmoid(expected @ state["class_emb.weight"].T), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder.species_scores(features, torch.tensor([3])), scores[:, 3:4])


def test_climate_comes_after_position(raster):
    path, _ = raster
    state = residual_state(24)
    encoder = loaded(state, {"input_enc": "sin_cos_env", "input_dim": 4})
    encoder.raster = BioclimRaster(path)
    climate = torch.from_numpy(BioclimRaster(path).sample(PLACES.numpy()))
    expected = residual_by_hand(state, torch.cat([sinusoid_features(PLACES, 4), climate], 1))
    np.testing.assert_allclose(encoder.encode(PLACES.numpy()), expected.numpy(), rtol=1e-5, atol=1e-5)

    only = residual_state(20)
    encoder = loaded(only, {"input_enc": "env", "input_dim": 4})
    encoder.raster = BioclimRaster(path)
    torch.testing.assert_close(encoder(PLACES), residual_by_hand(only, climate), rtol=1e-5, atol=1e-5)


def test_the_kind_of_input_is_read_off_the_size_where_nothing_says():
    assert sinr_weights(residual_state(24))[0]["inputs"] == "sin_cos_env"
    assert sinr_weights(residual_state(20))[0]["inputs"] == "env"
    assert sinr_weights(residual_state(8))[0] | {"species": 5} == {
        "kind": "residual", "inputs": "sin_cos", "width": 8, "depth": 4, "sinusoids": 8, "species": 5,
    }  # fmt: skip


def hyper_state(batchnorm, species_depth):
    state = residual_state(4, width=8, depth=2, prefix="pos_enc.", outputs=8)
    widths = [12, 10, 10, 6]
    for i in range(1, 4):
        state[f"species_emb.linear{i}.weight"] = torch.randn(widths[i], widths[i - 1])
        state[f"species_emb.linear{i}.bias"] = torch.randn(widths[i])
        if batchnorm and i < 3:
            state |= {f"species_emb.bn{i}.{k}": torch.rand(10) + 0.5 for k in ("weight", "bias", "running_var")}
            state[f"species_emb.bn{i}.running_mean"] = torch.randn(10)
            state[f"species_emb.bn{i}.num_batches_tracked"] = torch.tensor(3)
    state["species_emb.scale"] = torch.zeros(1)
    state["species_emb.species_emb.weight"] = torch.randn(7, 6)
    state["species_params"] = torch.randn(7, 8)
    if species_depth == 0:
        state |= {"species_enc.weight": torch.randn(9, 6), "species_enc.bias": torch.randn(9)}
    else:
        state |= residual_state(6, width=5, depth=species_depth, prefix="species_enc.", outputs=9)
    return state


@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("species_depth", [0, 2])
def test_le_sinr_places_texts_as_its_definition_does(batchnorm, species_depth):
    state = hyper_state(batchnorm, species_depth)
    encoder = loaded(state, {"model": "HyperNet", "input_enc": "sin_cos", "input_dim": 4})
    places = residual_by_hand(state, sinusoid_features(PLACES, 4), "pos_enc.") @ state["pos_enc.class_emb.weight"].T
    torch.testing.assert_close(encoder(PLACES), places, rtol=1e-5, atol=1e-4)

    texts = torch.randn(3, 12)
    x = texts
    for i in range(1, 4):
        x = F.silu(x @ state[f"species_emb.linear{i}.weight"].T + state[f"species_emb.linear{i}.bias"])
        if batchnorm and i < 3:
            norm = {k: state[f"species_emb.bn{i}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
            scale = torch.sqrt(norm["running_var"] + 1e-5)
            x = (x - norm["running_mean"]) / scale * norm["weight"] + norm["bias"]
    if species_depth == 0:
        x = x @ state["species_enc.weight"].T + state["species_enc.bias"]
    else:
        x = residual_by_hand(state, x, "species_enc.") @ state["species_enc.class_emb.weight"].T
    torch.testing.assert_close(encoder.species_vectors(texts), x[:, :8], rtol=1e-4, atol=1e-3)


def test_what_an_encoder_lacks_is_said():
    plain = SinrEncoder(inputs="sin_cos", width=8, depth=1)
    with pytest.raises(ValueError, match="no species layer"):
        plain.species_scores(torch.zeros(1, 8))
    with pytest.raises(ValueError, match="no text tower"):
        plain.species_vectors(torch.zeros(1, 4096))
    with pytest.raises(ValueError, match="four to an octave"):
        SinrEncoder(sinusoids=6)


def test_networks_that_are_not_supported_are_refused():
    with pytest.raises(CheckpointError, match="not a SINR network"):
        sinr_weights({"layer.weight": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match="time of year"):
        sinr_weights(residual_state(8), {"input_time_dim": 4})
    with pytest.raises(CheckpointError, match=r"unknown 1 \(stray\)"):
        loaded(residual_state(4) | {"stray": torch.zeros(1)}, {"input_enc": "sin_cos"})


def test_the_raster_is_sampled_between_its_nodes(raster):
    path, layers = raster
    sample = BioclimRaster(path).sample
    clean = np.nan_to_num(layers)
    np.testing.assert_allclose(
        sample([[-180, 90], [180, 90], [-180, -90], [180, -90]]), clean[[0, 0, -1, -1], [0, -1, 0, -1]]
    )
    np.testing.assert_allclose(sample([[-135, 45]])[0], clean[1, 1], rtol=1e-5)
    between = (clean[1, 1] + clean[1, 2] + clean[2, 1] + clean[2, 2]) / 4
    np.testing.assert_allclose(sample([[-112.5, 22.5]])[0], between, rtol=1e-4, atol=1e-6)
    # The sea is NaN and counts as the mean, 0, also next to land.
    np.testing.assert_allclose(sample([[-157.5, 90]])[0], clean[0, 1] / 2, rtol=1e-4, atol=1e-6)


def test_a_raster_that_is_not_there_or_not_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("WILDSAT_BIOCLIM", raising=False)
    with pytest.raises(MissingDataError, match="set WILDSAT_BIOCLIM"):
        SinrEncoder(width=8)(PLACES)
    monkeypatch.setenv("WILDSAT_BIOCLIM", str(tmp_path / "none.npy"))
    with pytest.raises(MissingDataError, match=r"no bioclimatic raster at .*none\.npy"):
        SinrEncoder(width=8)(PLACES)
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    with pytest.raises(CheckpointError, match="must have the shape"):
        BioclimRaster(tmp_path / "flat.npy")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="not a plain array"):
        BioclimRaster(tmp_path / "objects.npy")


def test_the_raster_is_found_through_the_environment(raster, monkeypatch):
    path, _ = raster
    monkeypatch.setenv("WILDSAT_BIOCLIM", str(path))
    assert SinrEncoder(width=8, depth=1).encode([[-98.0, 33.5]]).shape == (1, 8)
